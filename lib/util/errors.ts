/**
 * Every code this library can put on an error. Codes are API and change only with a major version;
 * messages are free to improve. Where Kafka has a name for the case, the code is that name.
 */
export type ErrorCode =
  // what was asked for
  | 'OFFSET_OUT_OF_RANGE'
  | 'INVALID_TOPIC'
  | 'UNKNOWN_TOPIC_OR_PARTITION'
  | 'TOPIC_ALREADY_EXISTS'
  | 'INVALID_CONFIG'
  | 'INVALID_REQUEST'
  | 'POLICY_VIOLATION'
  | 'SEGMENTS_CHANGED'
  | 'WRONG_EXPECTED_OFFSET'
  // what was handed in
  | 'CORRUPT_MESSAGE'
  | 'INVALID_RECORD'
  | 'INVALID_TIMESTAMP'
  | 'RECORD_BATCH_TOO_LARGE'
  | 'RECORD_LIST_TOO_LARGE'
  | 'UNSUPPORTED_FOR_MESSAGE_FORMAT'
  | 'UNSUPPORTED_COMPRESSION_TYPE'
  | 'DECOMPRESSION_LIMIT'
  // producers, transactions, epochs
  | 'OUT_OF_ORDER_SEQUENCE'
  | 'DUPLICATE_SEQUENCE'
  | 'INVALID_PRODUCER_EPOCH'
  | 'INVALID_TXN_STATE'
  | 'TRANSACTION_COORDINATOR_FENCED'
  | 'FENCED_LEADER_EPOCH'
  | 'UNEXPECTED_APPEND_OFFSET'
  // what was found on disk
  | 'CORRUPT_LOG'
  | 'CORRUPT_FILE'
  | 'DATA_LOSS'
  | 'UNSUPPORTED_VERSION'
  | 'NOT_A_DATA_DIRECTORY'
  | 'INCONSISTENT_TOPIC_ID'
  // what the machine did
  | 'STORAGE_FAILED'
  | 'SYNC_FAILED'
  | 'NO_SPACE'
  | 'PERMISSION_DENIED'
  | 'TOO_MANY_OPEN_FILES'
  | 'UNSAFE_FILE_SYSTEM'
  | 'UNSAFE_PATH'
  // who may do what, when
  | 'LOCKED'
  | 'READ_ONLY'
  | 'LOG_CLOSED'
  | 'STORE_CLOSED'
  | 'LOG_POISONED'
  | 'ABORTED'

/** The numbers and names behind a message. Never keys, values or other payload bytes. */
export type ErrorDetails = Readonly<Record<string, number | string | bigint | boolean | undefined>>

/**
 * An operating error: expected, typed, for the caller to handle.
 * Programmer errors are `TypeError` or `AssertionError` and carry none of these codes.
 */
export class LogError extends Error {
  override readonly name = 'LogError'
  readonly code: ErrorCode
  /** For example `{ offset, logStartOffset, logEndOffset }`. */
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.details = details
  }
}

/** True for a `LogError`, of the given code when one is given; also across two copies of this module. */
export function isLogError(error: unknown, code?: ErrorCode): error is LogError {
  return (
    error instanceof Error && error.name === 'LogError' && (code === undefined || (error as LogError).code === code)
  )
}
