import type { CompressionName } from '../../../lib/record/batch-format.ts'
import { compress, decompress, decompressStream } from '../../../lib/record/compression/index.ts'
import { lines } from './samples.ts'

/**
 * A program of its own, because a process's peak memory never falls: decompresses payloads from its parent and answers
 * how far the peak has risen. `peak-memory <way> <codec> <limit>`, each payload a message in base64, `end` at the end.
 */
export interface PeakReport {
  readonly outcome: string
  /** Since the beginning, all payloads so far included. */
  readonly peakBytes: number
  readonly milliseconds: number
}

/** Loads and compiles what will be used, so that only the payload's own memory is counted. */
function warmUp(name: CompressionName): void {
  const samples = [lines(200_000), lines(3000), Buffer.alloc(300_000)]
  for (const bytes of samples) {
    const payload = compress(name, bytes)
    for (let round = 0; round < 4; round++) {
      decompress(name, payload, { maxBytes: bytes.length })
      run('decompressStream', name, payload, bytes.length)
    }
  }
}

function run(way: string, name: CompressionName, payload: Buffer, maxBytes: number): number {
  if (way === 'decompress') return decompress(name, payload, { maxBytes }).length
  let size = 0
  for (const piece of decompressStream(name, payload, { maxBytes }, { reuse: true })) size += piece.length
  return size
}

function measure(way: string, name: CompressionName, payload: Buffer, maxBytes: number, before: number): PeakReport {
  const begin = performance.now()
  let outcome: string
  try {
    outcome = `${run(way, name, payload, maxBytes)} bytes`
  } catch (error) {
    outcome = (error as { code?: string }).code ?? String(error)
  }
  const milliseconds = performance.now() - begin
  return { outcome, peakBytes: peak() - before, milliseconds }
}

function peak(): number {
  return process.resourceUsage().maxRSS * 1024
}

if (process.send !== undefined) {
  const [way, name, limit] = process.argv.slice(2)
  warmUp(name as CompressionName)
  const before = peak()
  process.on('message', (payload: string) => {
    if (payload === 'end') process.disconnect()
    else process.send!(measure(way!, name as CompressionName, Buffer.from(payload, 'base64'), Number(limit), before))
  })
}
