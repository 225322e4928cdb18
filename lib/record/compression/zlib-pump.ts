import type { Gunzip } from 'node:zlib'

/**
 * Drives a node:zlib decompressor synchronously, piece by piece, into buffers of ours.
 *
 * node:zlib offers whole payloads synchronously or pieces asynchronously, and we need pieces synchronously: to bound
 * memory, and to learn an output's size before taking memory for it. So this calls `writeSync` of the engine's native
 * handle, as node:zlib itself does. That method is not documented; it has been the same since Node 10 and is tried on
 * each Node version we support. Where its shape differs `openPump` answers undefined and callers fall back to the
 * documented calls.
 *
 * Invariants:
 *   P1  `read` answers 0 only when the stream is complete or garbage follows it: then `consumed` is below the input's
 *       length. A gzip stream that is cut off or broken throws, a zstd stream that is broken, too; that it is not cut
 *       off must be known before, for node:zlib does not always notice.
 *   P2  `close` must be called; afterwards nothing else may be.
 */
interface Handle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputFrom: number,
    inputBytes: number,
    output: Uint8Array,
    outputFrom: number,
    outputBytes: number
  ): void
  onerror: (message: string, errno: number, code: string) => void
}

interface Engine {
  readonly _handle?: Partial<Handle> | null
  readonly _writeState?: unknown
  close(): void
}

export interface Pump {
  /** Fills `output[from, to)` as far as the stream goes; answers the number of bytes, 0 at its end. */
  read(output: Buffer, from: number, to: number): number
  /** Input bytes used so far. */
  readonly consumed: number
  close(): void
}

/**
 * @param engine - fresh, e.g. `createGunzip()`; closed with the pump.
 * @param flush - the flush flag that says "this is all the input".
 */
export function openPump(engine: Gunzip, input: Buffer, flush: number): Pump | undefined {
  const { _handle: handle, _writeState: state } = engine as unknown as Engine
  if (typeof handle?.writeSync !== 'function' || !(state instanceof Uint32Array) || state.length < 2) {
    engine.close()
    return undefined
  }
  return new ZlibPump(engine, handle as Handle, state, input, flush)
}

class ZlibPump implements Pump {
  readonly #engine: Engine
  readonly #handle: Handle
  /** Filled by writeSync: [output bytes still free, input bytes still unused]. */
  readonly #state: Uint32Array
  readonly #input: Buffer
  readonly #flush: number
  #failure: Error | undefined
  consumed = 0

  constructor(engine: Engine, handle: Handle, state: Uint32Array, input: Buffer, flush: number) {
    this.#engine = engine
    this.#handle = handle
    this.#state = state
    this.#input = input
    this.#flush = flush
    handle.onerror = message => {
      this.#failure ??= new Error(message)
    }
  }

  read(output: Buffer, from: number, to: number): number {
    for (;;) {
      const before = this.#input.length - this.consumed
      this.#handle.writeSync(this.#flush, this.#input, this.consumed, before, output, from, to - from)
      if (this.#failure !== undefined) throw this.#failure
      const count = to - from - this.#state[0]!
      const used = before - this.#state[1]!
      this.consumed += used
      // A zstd engine stops at the end of each frame, which may have given nothing, and goes on when called again.
      if (count > 0 || used === 0 || used === before) return count
    }
  }

  close(): void {
    this.#engine.close()
  }
}
