/**
 * Who had this data directory open last: we, or another engine?
 *
 * Our own side-cars (durable watermark, digests) describe the logs as we left them. After another engine wrote here
 * they describe a past that is gone, and would call sound logs corrupt. So another engine was here if the marker of
 * our last clean close is gone or another one, or if a checkpoint is not the one that we wrote last. A changed `.log`
 * alone is damage, never a visit.
 *
 *     side-car says              marker found      verdict
 *     nothing (no side-car)      any               other engine
 *     closed cleanly, digest D   D                 we, clean
 *     closed cleanly, digest D   D, put aside      we, crashed (clean-shutdown.ts, S4)
 *     closed cleanly, digest D   none              other engine, which crashed or runs
 *     closed cleanly, digest D   another           other engine, clean
 *     opened, marker was D       D                 we, clean: we crashed before it was removed
 *     opened                     none              we, crashed
 *     opened                     another           other engine, clean
 *
 * An empty marker is never ours: Kafka before 3.7 writes it, and two of them look the same.
 */
import { NO_CHECKPOINT, type TopicsFile } from './topics-file.ts'

export interface FoundFiles {
  /** Our side-car; `undefined` when there is none that can be read. */
  readonly topicsFile: TopicsFile | undefined
  /** Digest of the marker; `undefined`: there is none. */
  readonly markerDigest: string | undefined
  readonly markerIsEmpty: boolean
  /** Digest of the marker that was put aside; `undefined`: there is none. */
  readonly asideDigest?: string | undefined
  /** Digests of the checkpoints that exist. */
  readonly checkpoints: ReadonlyMap<string, string>
}

export interface Verdict {
  /** The marker says that every log was closed cleanly. */
  readonly clean: boolean
  /** Why we think that another engine was here; `undefined`: it was not. */
  readonly otherEngine: string | undefined
}

export function judgeLastVisitor(found: FoundFiles): Verdict {
  const { topicsFile, markerDigest, markerIsEmpty, asideDigest, checkpoints } = found
  const clean = markerDigest !== undefined
  const verdict = (otherEngine: string | undefined): Verdict => ({ clean, otherEngine })
  if (topicsFile === undefined) return verdict('heartwood has not written here before')
  const { marker } = topicsFile
  if (clean) {
    if (markerIsEmpty) return verdict('the clean-shutdown marker is not ours')
    if (marker?.digest !== markerDigest) return verdict('the clean-shutdown marker is not the one that we wrote')
  } else if (marker?.confirmed === true && marker.digest !== asideDigest) {
    return verdict('the marker of our clean shutdown is gone')
  }
  for (const [name, expected] of topicsFile.checkpoints) {
    if (!expected.includes(checkpoints.get(name) ?? NO_CHECKPOINT))
      return verdict(`${name} is not the one that we wrote`)
  }
  for (const name of checkpoints.keys()) {
    if (!topicsFile.checkpoints.has(name)) return verdict(`${name} is not ours`)
  }
  return verdict(undefined)
}
