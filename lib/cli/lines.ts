/**
 * Splits a byte stream into lines without decoding it. Only `\n` ends a line, so what goes in comes out again byte
 * for byte; a last line without it counts.
 */
import { LogError } from '../util/errors.ts'

const NEWLINE = 0x0a

export interface LineBlock {
  /** Whole lines, without their ends. Views of one buffer. */
  readonly lines: Buffer[]
  /** Number of the first of them, from 1 on. */
  readonly firstNumber: number
}

/**
 * Lines as they arrive, one block per chunk of input.
 *
 * @param maxLineBytes - a longer line is refused before more of it is gathered.
 */
export async function* lineBlocks(
  input: AsyncIterable<Buffer | string>,
  maxLineBytes: number
): AsyncGenerator<LineBlock, void, undefined> {
  let rest: Buffer[] = []
  let restBytes = 0
  let number = 1
  for await (const given of input) {
    const chunk = typeof given === 'string' ? Buffer.from(given) : given
    const lines: Buffer[] = []
    let from = 0
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, from)) {
      const end = chunk.subarray(from, to)
      lines.push(rest.length === 0 ? end : Buffer.concat([...rest, end]))
      rest = []
      restBytes = 0
      from = to + 1
    }
    if (from < chunk.length) {
      rest.push(chunk.subarray(from))
      restBytes += chunk.length - from
    }
    if (lines.length > 0) yield { lines, firstNumber: number }
    number += lines.length
    if (restBytes > maxLineBytes) {
      throw new LogError(
        'RECORD_BATCH_TOO_LARGE',
        `line ${number} is longer than ${maxLineBytes} bytes, the largest batch of the topic`,
        { line: number }
      )
    }
  }
  if (rest.length > 0) yield { lines: [Buffer.concat(rest)], firstNumber: number }
}
