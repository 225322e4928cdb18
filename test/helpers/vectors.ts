import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { CompressionName } from '../../lib/record/batch-format.ts'
import { fixture } from './paths.ts'

type HexBytes = string | { sha256: string; length: number } | null

export interface VectorRecord {
  offset: string
  timestamp: string
  key: HexBytes
  value: HexBytes
  headers: [string, HexBytes][]
}

/** One batch that another implementation wrote; test/fixtures/vectors/README.md. */
export interface Vector {
  id: string
  about: string
  sizeInBytes: number
  codec: CompressionName
  header: {
    baseOffset: string
    length: number
    partitionLeaderEpoch: number
    magic: number
    crc: string
    attributes: string
    lastOffsetDelta: number
    baseTimestamp: string
    maxTimestamp: string
    producerId: string
    producerEpoch: number
    baseSequence: number
    count: number
  }
  records: (VectorRecord | { more: number })[]
  uncompressedRecordBytes: number
  recordCount: number
  bytes: Buffer
}

export interface CorruptVector {
  id: string
  about: string
  bytes: Buffer
}

function load<T>(list: string): T[] {
  const { vectors } = JSON.parse(readFileSync(fixture('vectors', list), 'utf8')) as {
    vectors: (T & { file: string })[]
  }
  return vectors.map(vector => {
    const hex = readFileSync(fixture('vectors', vector.file), 'utf8').trim()
    return { ...vector, bytes: Buffer.from(hex, 'hex') }
  })
}

export function soundVectors(): Vector[] {
  return load<Vector>('vectors.json')
}

export function corruptVectors(): CorruptVector[] {
  return load<CorruptVector>('corrupt.json')
}

/** Bytes in the form that the list has them in, so that the two can be compared. */
export function asListed(bytes: Buffer | null, listed: HexBytes): HexBytes {
  if (bytes === null) return null
  if (listed === null || typeof listed === 'string') return bytes.toString('hex')
  return { sha256: createHash('sha256').update(bytes).digest('hex'), length: bytes.length }
}
