/** What to do next about an error, for the one line that a command leaves behind. */
import type { ErrorCode } from '../util/errors.ts'

const ADVICE: Partial<Readonly<Record<ErrorCode, string>>> = {
  NOT_A_DATA_DIRECTORY: 'Check --dir; "heartwood topics create NAME" makes a new directory',
  UNKNOWN_TOPIC_OR_PARTITION: '"heartwood topics list" shows what is there',
  TOPIC_ALREADY_EXISTS: 'Choose another name, or change it with "heartwood topics alter"',
  CORRUPT_LOG: '"heartwood dump" shows the file, damage included',
  DATA_LOSS: 'With --offset, reading goes on behind the hole',
  CORRUPT_FILE: '"heartwood dump" shows the file, damage included',
  CORRUPT_MESSAGE: '"heartwood dump" shows the file, damage included',
  RECORD_BATCH_TOO_LARGE: 'Split the record, or raise max.message.bytes with "heartwood topics alter"',
  INVALID_TIMESTAMP:
    'Correct the timestamp, or raise message.timestamp.before.max.ms or message.timestamp.after.max.ms with "heartwood topics alter"'
}

/** The message with what to do next behind it, as one line. */
export function withAdvice(code: ErrorCode, message: string): string {
  const advice = ADVICE[code]
  return advice === undefined ? message : `${message.replace(/\.$/, '')}. ${advice}.`
}
