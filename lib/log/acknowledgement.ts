import type { AckLevel } from './types.ts'

/** What an append got and how safe it is. */
export interface AppendResult {
  readonly baseOffset: number
  /** Inclusive. */
  readonly lastOffset: number
  /** Largest timestamp of the records, or the append time on a LogAppendTime topic, ms. */
  readonly timestamp: number | undefined
  /** What was true of the append when it was acknowledged: see AckLevel. */
  readonly level: AckLevel
  /** True if an idempotent producer sent this batch before: nothing was written, the offsets are the first ones. */
  readonly duplicate: boolean
  readonly logStartOffset: number
  /** Resolves when the append has reached `level`; waiting for `synced` asks for a sync. */
  reached(level: AckLevel): Promise<void>
}

/** One object per append, with its method on the prototype: acknowledgements are many. */
export class Acknowledgement implements AppendResult {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly timestamp: number | undefined
  readonly level: AckLevel
  readonly duplicate: boolean
  readonly logStartOffset: number
  readonly #log: { reached(lastOffset: number, level: AckLevel): Promise<void> }

  constructor(
    accepted: { baseOffset: number; lastOffset: number; timestamp: number | undefined; duplicate: boolean },
    level: AckLevel,
    logStartOffset: number,
    log: { reached(lastOffset: number, level: AckLevel): Promise<void> }
  ) {
    this.baseOffset = accepted.baseOffset
    this.lastOffset = accepted.lastOffset
    this.timestamp = accepted.timestamp
    this.duplicate = accepted.duplicate
    this.level = level
    this.logStartOffset = logStartOffset
    this.#log = log
  }

  reached(level: AckLevel): Promise<void> {
    return this.#log.reached(this.lastOffset, level)
  }
}
