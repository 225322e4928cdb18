/**
 * Faults that were drafted and do no harm, because something else holds the same promise: why, for whoever changes what
 * holds it. They are not run.
 */
export interface HarmlessMutant {
  readonly name: string
  readonly breaks: string
  /** Below `lib/`, without `.ts`. */
  readonly file: string
  readonly why: string
}

export const HARMLESS: readonly HarmlessMutant[] = [
  {
    name: 'recovered-tail-not-synced',
    breaks: 'what recovery accepts is served before it is durable',
    file: 'log/recovery-sync',
    why: 'the device is asked for it; what it has not is written again and synced'
  },
  {
    name: 'checkpoint-above-watermark',
    breaks: 'the recovery point of the checkpoint is believed after a cut',
    file: 'log/loader',
    why: 'the checkpoint is lowered before a cut; what Kafka left is without a watermark'
  },
  {
    name: 'durable-at-end-of-sync',
    breaks: 'what was written while a sync was under way counts as synced',
    file: 'log/writer',
    why: 'nothing is: writes and syncs of the active segment take turns'
  },
  {
    name: 'acks-at-end-of-sync',
    breaks: 'a sync acknowledges what was written while it was under way',
    file: 'log/writer',
    why: 'as above'
  },
  {
    name: 'dirty-forgotten',
    breaks: 'a sync that ends takes later writes for synced',
    file: 'segment/log-file',
    why: 'as above; a segment that is sealed beside the turn is not written to'
  },
  {
    name: 'epochs-not-cut',
    breaks: 'leader epochs of records that were cut stay in their file',
    file: 'log/segment-keeper',
    why: 'in memory they go with the accepted batches in the same step; the file is written before the next batch, and what a crash leaves in it above the end goes at loading'
  },
  {
    name: 'tail-keeps-what-was-cut',
    breaks: 'what was cut is still served from memory',
    file: 'log/segment-keeper',
    why: 'no reader asks above the high watermark, which came down before, and the end of the cut takes it out of memory once more'
  },
  {
    name: 'recovery-cut-not-synced',
    breaks: 'the torn end that recovery cut off comes back',
    file: 'log/recovery-apply',
    why: 'the file is synced again before anybody is served: zeros go behind its end, or it is sealed'
  },
  {
    name: 'topic-folders-not-synced',
    breaks: 'a topic is there before its folders are durable',
    file: 'store/topics',
    why: 'the side-car that says so is replaced in the same directory, which is synced for that'
  },
  {
    name: 'swap-from-below',
    breaks: 'cleaned segments get their names from the lowest on',
    file: 'log/segment-swap',
    why: 'within reach of the simulator: a group becomes one segment, unless it holds 2 GiB or 2^31 offsets'
  }
]
