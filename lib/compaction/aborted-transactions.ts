import type { FileSystem } from '../fs/file-system.ts'
import { toLogError } from '../fs/system-errors.ts'
import {
  type AbortedTransaction,
  isSameDigest,
  TransactionIndex,
  transactionsDigest
} from '../segment/transaction-index.ts'
import { readTransactionIndexFile, transactionIndexPath } from '../segment/transaction-index-file.ts'
import { LogError } from '../util/errors.ts'
import type { CleaningInput } from './cleaning-types.ts'

/**
 * The aborted transactions of a log, out of the indexes of its sealed segments, each read when it is first needed and
 * let go once the cleaning has passed it.
 */
export class AbortedTransactions {
  readonly #fs: FileSystem
  readonly #input: CleaningInput
  readonly #indexes = new Map<number, TransactionIndex>()

  constructor(fs: FileSystem, input: CleaningInput) {
    this.#fs = fs
    this.#input = input
  }

  /**
   * Those that concern records of segment `from`, the number of one of the input's, up to `upper`, exclusive. Segments
   * must be asked for in order.
   *
   * @throws {LogError} CORRUPT_FILE if an index cannot be one, or is not the one that was noted.
   */
  async collect(from: number, upper: number): Promise<AbortedTransaction[]> {
    const { segments, abortedLater = [] } = this.#input
    const { baseOffset } = segments[from]!
    for (const i of this.#indexes.keys()) if (i < from) this.#indexes.delete(i)
    const found: AbortedTransaction[] = []
    for (let i = from; i < segments.length; i += 1) {
      const { entries, complete } = (await this.#index(i)).collect(baseOffset, upper)
      found.push(...entries)
      if (complete) return found
    }
    return found.concat(abortedLater.filter(({ firstOffset }) => firstOffset < upper))
  }

  async #index(i: number): Promise<TransactionIndex> {
    let index = this.#indexes.get(i)
    if (index === undefined) {
      const { dir, segments } = this.#input
      const { baseOffset, transactions } = segments[i]!
      const path = transactionIndexPath(dir, baseOffset)
      const content = await readTransactionIndexFile(this.#fs, path).catch(error => {
        throw toLogError(error, 'read', path)
      })
      if (transactions !== undefined && !isSameDigest(transactionsDigest(content), transactions)) {
        const message = `${path} is not what it was when its segment was closed: what was aborted would stay for good`
        throw new LogError('CORRUPT_FILE', message, { path, bytes: content.length })
      }
      index = TransactionIndex.parse(content, baseOffset)
      this.#indexes.set(i, index)
    }
    return index
  }
}
