/**
 * `partition.metadata` of a partition's folder: the id of the topic that the folder belongs to.
 *
 * Format (UTF-8, no newline at the end):
 *
 *     version: 0
 *     topic_id: BASE64URL        // the UUID's 16 bytes, unpadded: 22 characters
 *
 * Same as Kafka's PartitionMetadataFile (format.md 3.6).
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { LogError } from '../util/errors.ts'
import { isTopicUuid } from './uuid.ts'

export const PARTITION_METADATA = 'partition.metadata'
const MAX_BYTES = 4096

export function formatPartitionMetadata(topicId: string): Buffer {
  return Buffer.from(`version: 0\ntopic_id: ${topicId}`)
}

/**
 * @param path - for messages.
 * @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION.
 */
export function parsePartitionMetadata(bytes: Buffer, path: string): string {
  const [first = '', second = '', ...rest] = bytes.toString('utf8').split('\n')
  const version = /^version\s*:\s*(\d{1,9})\s*$/.exec(first)?.[1]
  if (version !== undefined && version !== '0') {
    throw new LogError('UNSUPPORTED_VERSION', `${path} has version ${version}; known is 0`, { path, version })
  }
  const topicId = /^topic_id\s*:\s*(\S+)\s*$/.exec(second)?.[1]
  if (version === undefined || topicId === undefined || !isTopicUuid(topicId) || rest.some(line => line !== '')) {
    throw new LogError('CORRUPT_FILE', `${path} is no partition.metadata: expected "version: 0" and a topic_id`, {
      path
    })
  }
  return topicId
}

/** The topic's id, `undefined` when the folder has no such file (Kafka before 2.8, or a crash on the way). */
export async function readPartitionMetadata(fs: FileSystem, folder: string): Promise<string | undefined> {
  const path = join(folder, PARTITION_METADATA)
  const bytes = await readWholeFile(fs, path, MAX_BYTES)
  return bytes === undefined ? undefined : parsePartitionMetadata(bytes, path)
}

export function writePartitionMetadata(
  fs: FileSystem,
  folder: string,
  topicId: string,
  options: ReplaceOptions
): Promise<void> {
  return replaceFile(fs, join(folder, PARTITION_METADATA), formatPartitionMetadata(topicId), options)
}
