/** What `heartwood dump` says about its lines. */

/** Behind the options of `heartwood dump --help`. */
export const DUMP_KINDS = `Kinds of lines:
  batch, record                  a record batch; with --records what is in it
  message                        an entry from before Kafka 0.11, which nothing else here reads
  offset-index-entry, time-index-entry, aborted-transaction, producer-state
                                 .index, .timeindex, .txnindex, .snapshot
  preallocated                   zeros that an engine set aside behind the entries of an index
  leader-epoch, offset-checkpoint, line
                                 checkpoints and other text files
  watermark-slot, topic, manifest, manifest-segment, hold, hole, file
                                 heartwood's own files, and what is not known
  damage                         bytes that cannot be read as anything of that, and why`
