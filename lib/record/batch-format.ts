/**
 * Record batch, magic 2: where each header field lies.
 *
 *     batch := baseOffset           int64    // of the first record originally in the batch; not under the CRC
 *              length               int32    // bytes behind this field: the whole batch less 12
 *              partitionLeaderEpoch int32    // -1 unknown; not under the CRC
 *              magic                int8     // 2
 *              crc                  uint32   // CRC-32C of everything from `attributes` to the end
 *              attributes           int16    // below
 *              lastOffsetDelta      int32    // last offset - base offset; kept by compaction
 *              baseTimestamp        int64    // of the first record; the delete horizon if attribute bit 6 is set
 *              maxTimestamp         int64    // largest of the records; the broker's clock under LogAppendTime
 *              producerId           int64    // -1 none
 *              producerEpoch        int16    // -1 none
 *              baseSequence         int32    // -1 none
 *              recordCount          int32    // records present now; 0 in a batch kept empty by compaction
 *              records                       // back to back, or one compressed stream of them
 *
 *     record := length         varint        // bytes behind this field
 *               attributes     int8          // 0
 *               timestampDelta varlong       // from baseTimestamp
 *               offsetDelta    varint        // from baseOffset; >= 0, strictly increasing
 *               key            bytes
 *               value          bytes
 *               headerCount    varint
 *               ( name bytes, value bytes )* // name is UTF-8, never null
 *     bytes  := length         varint        // -1 null
 *               content
 *
 * All integers big-endian. Base offset and leader epoch lie outside the CRC so that a leader can assign them without
 * computing it again.
 *
 * @see Kafka, org.apache.kafka.common.record.DefaultRecordBatch and DefaultRecord
 */

export const BASE_OFFSET_AT = 0
export const LENGTH_AT = 8
export const LEADER_EPOCH_AT = 12
export const MAGIC_AT = 16
export const CRC_AT = 17
export const ATTRIBUTES_AT = 21
export const LAST_OFFSET_DELTA_AT = 23
export const BASE_TIMESTAMP_AT = 27
export const MAX_TIMESTAMP_AT = 35
export const PRODUCER_ID_AT = 43
export const PRODUCER_EPOCH_AT = 51
export const BASE_SEQUENCE_AT = 53
export const RECORD_COUNT_AT = 57

/** Bytes of a whole magic 2 header; the records begin here. */
export const HEADER_BYTES = 61
/** Base offset and length: what the length field does not count. */
export const LOG_OVERHEAD = 12
/** Bytes that say how long an entry is and of which magic: the least a scan needs. */
export const HEADER_UP_TO_MAGIC = 17
/** Least value of the length field, magic 2. */
export const MIN_BATCH_LENGTH = HEADER_BYTES - LOG_OVERHEAD
/** Least value of the length field, magic 0: CRC, magic, attributes and two null lengths. */
export const MIN_OLDER_LENGTH = 14
/** A batch, and a segment file, is addressed with a signed 32-bit number. */
export const MAX_BATCH_BYTES = 2 ** 31 - 1
/** The current, and since Kafka 3.0 the only written, format. */
export const CURRENT_MAGIC = 2
/**
 * Bytes that one record takes at most beside the content of its key, value and headers: its length, attributes, two
 * deltas, the lengths of key and value, the count of headers.
 */
export const MAX_RECORD_OVERHEAD = 5 + 1 + 10 + 5 + 5 + 5 + 5

export const COMPRESSION_MASK = 0x07
export const TIMESTAMP_TYPE_BIT = 0x08
export const TRANSACTIONAL_BIT = 0x10
export const CONTROL_BIT = 0x20
export const DELETE_HORIZON_BIT = 0x40

/** In the order of the three compression bits; 5 to 7 mean nothing. */
export const COMPRESSION_NAMES = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

export type CompressionName = (typeof COMPRESSION_NAMES)[number]

/** Who dates the records: the producer, or the log when it takes them. */
export type TimestampType = 'CreateTime' | 'LogAppendTime'
