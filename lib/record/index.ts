export { BatchBuilder, type BatchFields, type BuilderMark, type FinishOptions } from './batch-builder.ts'
export { setBaseOffset, setMaxTimestampAndType, setPartitionLeaderEpoch, updateCrc } from './batch-edit.ts'
export {
  COMPRESSION_NAMES,
  type CompressionName,
  HEADER_BYTES,
  LOG_OVERHEAD,
  type TimestampType
} from './batch-format.ts'
export { type ScanResult, scanBatch } from './batch-scan.ts'
export { BatchView } from './batch-view.ts'
export { compress, decompress, decompressStream } from './compression/index.ts'
export {
  type ControlRecord,
  type ControlRecordType,
  type EndTransactionMarker,
  encodeEndTransactionMarker,
  parseControlRecord
} from './control-record.ts'
export { compressBatch, type EncodeOptions, encodeBatch } from './encode-batch.ts'
export { LazyRecord } from './lazy-record.ts'
export { type OlderEntry, readOlderEntry } from './older-magic.ts'
export type { EagerRecord, Header, HeadersInput, LogRecord, RecordInput } from './record.ts'
export { RecordCursor } from './record-cursor.ts'
export { DEFAULT_MAX_DECOMPRESSED_BYTES, type DecodeOptions } from './records-section.ts'
