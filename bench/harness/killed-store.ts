/** Stores whose process was killed: copies to recover, and the bare loop that recovery is measured against. */
import { closeSync, openSync, readSync } from 'node:fs'
import { copyFile, link, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'

const PIECE_BYTES = 1024 * 1024
const HEADER_BYTES = 61
const LENGTH_AT = 8
const CRC_AT = 17
const CRC_FROM = 21

/**
 * The ceiling: reads a file in pieces of 1 MiB and checks the CRC of each batch. Nothing else.
 *
 * @param from - byte at which the first batch to check starts.
 * @returns bytes of whole, sound batches from there on.
 * @throws {Error} for a batch whose CRC is not right.
 */
export function checkCrcs(path: string, from: number): number {
  const file = openSync(path, 'r')
  let piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
  let position = from
  try {
    for (;;) {
      const length = readSync(file, piece, 0, piece.length, position)
      let at = 0
      while (length - at >= HEADER_BYTES) {
        const end = at + 12 + piece.readInt32BE(at + LENGTH_AT)
        if (end > length) break
        if (crc32c(piece.subarray(at + CRC_FROM, end)) !== piece.readUInt32BE(at + CRC_AT)) {
          throw new Error(`${path}: bad CRC at byte ${position + at}`)
        }
        at = end
      }
      position += at
      if (at > 0) continue
      if (length < piece.length) return position - from
      // A batch that is longer than the piece.
      piece = Buffer.allocUnsafeSlow(piece.length * 2)
    }
  } finally {
    closeSync(file)
  }
}

/** Into a folder that is there. What recovery writes to is copied; the log files it only reads, so they are linked. */
export async function copyKilled(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) {
      await mkdir(target)
      await copyKilled(source, target)
    } else if (entry.name.endsWith('.log')) await link(source, target)
    else if (entry.isFile()) await copyFile(source, target)
  }
}
