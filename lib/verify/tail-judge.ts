/** Whether what ends a walk is a torn tail, which nobody was promised, or damage: the rules of loader-plan.ts. */
import { join } from 'node:path'
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { findSoundBatch } from '../log/recovery-damage.ts'
import type { Watermark } from '../log/watermark-file.ts'
import type { BatchView } from '../record/batch-view.ts'
import { isZeroFilled } from '../segment/scan.ts'
import type { DamagedRange } from './log-walk.ts'
import type { ListedSegment } from './segment-list.ts'

/**
 * - `room`: zeros that were set aside and not given back; the next segment goes on here.
 * - `live-end`: somebody is writing here right now.
 * - `tail`: a crash cut a write short.
 */
export type DamageVerdict =
  | { readonly kind: 'room' | 'live-end' | 'corrupt' }
  | { readonly kind: 'tail'; readonly laterBytes: number }

export interface JudgeContext {
  readonly fs: FileSystem
  readonly path: string
  readonly clean: boolean
  readonly live: boolean
  readonly segments: readonly ListedSegment[]
  readonly watermark: Watermark | undefined
  readonly recoveryPoint: number | undefined
}

export interface JudgedRange {
  /** Of the segment. */
  readonly index: number
  readonly range: DamagedRange
  /** First offset that is missing. */
  readonly fromOffset: number
  readonly source: FileHandle
}

export class TailJudge {
  readonly #context: JudgeContext
  #atMark: { readonly nextOffset: number; readonly crc: number } | undefined

  constructor(context: JudgeContext) {
    this.#context = context
  }

  /** The batch that ends where the watermark says that one was synced. */
  get atMark(): { readonly nextOffset: number; readonly crc: number } | undefined {
    return this.#atMark
  }

  note(segment: number, end: number, batch: BatchView): void {
    const { watermark } = this.#context
    if (watermark?.segmentBaseOffset !== segment || watermark.position !== end) return
    this.#atMark = { nextOffset: batch.nextOffset, crc: batch.crc }
  }

  async judge(judged: JudgedRange): Promise<DamageVerdict> {
    const { index, range, fromOffset, source } = judged
    const { segments, clean, live, watermark, recoveryPoint = 0 } = this.#context
    if (range.kind === 'zeros' && segments[index + 1]?.baseOffset === fromOffset && !range.isFollowed) {
      if (await isZeroFilled(source, range.position, range.end)) return { kind: 'room' }
    }
    if (clean) return { kind: 'corrupt' }
    if (watermark !== undefined) {
      const { baseOffset } = segments[index] as ListedSegment
      const { segmentBaseOffset, position, offset } = watermark
      const isBelow =
        fromOffset < offset ||
        baseOffset < segmentBaseOffset ||
        (baseOffset === segmentBaseOffset && range.position < position)
      if (isBelow) return { kind: 'corrupt' }
      return live ? { kind: 'live-end' } : this.#tail(index)
    }
    if (range.isFollowed || (await this.#isFollowedLater(index, fromOffset))) return { kind: 'corrupt' }
    if (live) return { kind: 'live-end' }
    return fromOffset < recoveryPoint ? { kind: 'corrupt' } : this.#tail(index)
  }

  async #tail(index: number): Promise<DamageVerdict> {
    const { fs, path, segments } = this.#context
    let laterBytes = 0
    for (const { log } of segments.slice(index + 1)) laterBytes += (await fs.stat(join(path, log)))?.size ?? 0
    return { kind: 'tail', laterBytes }
  }

  async #isFollowedLater(index: number, nextOffset: number): Promise<boolean> {
    const { fs, path, segments } = this.#context
    for (const { log, baseOffset } of segments.slice(index + 1)) {
      const handle = await fs.open(join(path, log), 'read')
      try {
        const { size } = await handle.stat()
        const least = Math.max(nextOffset, baseOffset)
        if ((await findSoundBatch(handle, { from: 0, to: size, nextOffset: least })) !== undefined) return true
      } finally {
        await handle.close()
      }
    }
    return false
  }
}
