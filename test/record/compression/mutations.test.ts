import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { compress, decompress, decompressStream } from '../../../lib/record/compression/index.ts'
import { decompressLz4 } from '../../../lib/record/compression/lz4.ts'
import { lz4BlockCodec } from '../../../lib/record/compression/lz4-codec.ts'
import { decompressZstd, zstdEngine } from '../../../lib/record/compression/zstd.ts'
import { IS_LONG_RUN, SEED } from '../../helpers/seed.ts'
import { COMPRESSING, lines, randomFrom } from './samples.ts'

/** More in the fuzz lane. */
const ROUNDS = IS_LONG_RUN ? 30_000 : 5_000
const MAX_BYTES = 1024 * 1024

/** One to four bytes changed; sometimes cut off or doubled. */
function mutated(payload: Buffer, random: (below: number) => number): Buffer {
  const bytes = Buffer.from(payload)
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(bytes.length)
    bytes[at] = [bytes[at]! ^ (1 << random(8)), random(256), 0, 255, 127, 128][random(6)]!
  }
  const fate = random(12)
  if (fate === 0) return bytes.subarray(0, random(bytes.length))
  return fate === 1 ? Buffer.concat([bytes, bytes]) : bytes
}

/** The output as a string, or the code of the error; anything but our two codes fails the test. */
function outcomeOf(run: () => Buffer): string {
  try {
    return run().toString('latin1')
  } catch (error) {
    const { code, name } = error as { code?: string; name: string }
    if (name === 'LogError' && (code === 'INVALID_RECORD' || code === 'DECOMPRESSION_LIMIT')) return code
    throw error
  }
}

for (const name of COMPRESSING) {
  t.test(
    `${name}: ${ROUNDS} mutated payloads give output or a typed error, in bounded time (SEED=${SEED})`,
    async t => {
      const random = randomFrom(SEED)
      const payloads = [lines(12_000), lines(300), Buffer.alloc(5000), Buffer.alloc(0)].map(bytes =>
        compress(name, bytes)
      )
      const limits = { maxBytes: MAX_BYTES }
      let slow = 0
      for (let round = 0; round < ROUNDS; round++) {
        const payload = mutated(payloads[random(payloads.length)]!, random)
        // node:zlib lets go of what an engine held only when the event loop turns.
        if (round % 50 === 0) await turn()
        const begin = process.cpuUsage()
        const whole = outcomeOf(() => decompress(name, payload, limits))
        const allowed = 50 + (payload.length + whole.length) / 1024
        const { user, system } = process.cpuUsage(begin)
        if ((user + system) / 1000 > allowed) slow += 1
        if (round % 4 > 0) continue
        const pieces = outcomeOf(() => Buffer.concat([...decompressStream(name, payload, limits)]))
        if (pieces !== whole) t.fail(`round ${round}: ${whole.slice(0, 40)} whole, ${pieces.slice(0, 40)} in pieces`)
      }
      // Processor time, for a pause of the machine is no defect; a collection of garbage may fall into one or two.
      t.ok(slow < 5, `${slow} took more than 50 ms + 1 ms a KiB`)
    }
  )
}

t.test('lz4: the native codec and ours agree on every mutated payload', async t => {
  const random = randomFrom(SEED + 1)
  const sound = [lines(12_000), lines(300), Buffer.alloc(5000)].map(bytes => compress('lz4', bytes))
  for (let round = 0; round < ROUNDS; round++) {
    const payload = mutated(sound[random(sound.length)]!, random)
    // Most mutations of the header end the matter there: put it right, to get at the blocks.
    if (payload.length >= 7) sound[0]!.copy(payload, 0, 0, 7)
    const [js, native] = [lz4BlockCodec('js'), lz4BlockCodec()].map(codec =>
      outcomeOf(() => decompressLz4(payload, MAX_BYTES, codec))
    )
    if (js !== native) t.fail(`round ${round}`)
  }
})

t.test('zstd: WebAssembly, too, gives output or a typed error', async () => {
  const random = randomFrom(SEED + 2)
  const sound = [lines(12_000), lines(300), Buffer.alloc(5000)].map(bytes => compress('zstd', bytes))
  for (let round = 0; round < ROUNDS; round++) {
    const payload = mutated(sound[random(sound.length)]!, random)
    outcomeOf(() => decompressZstd(payload, MAX_BYTES, zstdEngine('wasm')))
  }
})
