/** Which names a new topic may have beside those that are there. */
import { assertTopicName } from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import { METADATA_TOPIC } from './directory-listing.ts'
import { randomHex32 } from './uuid.ts'

const INTERNAL: ReadonlySet<string> = new Set(['__consumer_offsets', '__transaction_state', '__share_group_state'])

/** Kafka's own topics, which `topics list` leaves out unless asked. */
export function isInternalTopic(topic: string): boolean {
  return INTERNAL.has(topic)
}

/**
 * @param options.caseFolding - the file system takes `Orders` and `orders` for one name.
 * @throws {LogError} INVALID_TOPIC for a name that breaks Kafka's rule, that differs from another only in '.' and '_'
 *   (they share a metric's name, so Kafka refuses it), or that would share a folder with another.
 */
export function assertNewTopicName(
  topic: string,
  existing: Iterable<string>,
  { caseFolding }: { readonly caseFolding: boolean }
): void {
  assertTopicName(topic)
  if (topic === METADATA_TOPIC) {
    throw new LogError('INVALID_TOPIC', `${topic} is the broker's own metadata log, not a topic`, { topic })
  }
  const collides = topic.includes('.') || topic.includes('_')
  const unified = unify(topic)
  const folded = topic.toLowerCase()
  for (const other of existing) {
    if (other === topic) continue
    if (collides && unify(other) === unified) {
      throw new LogError('INVALID_TOPIC', `topic ${topic} collides with ${other}: '.' and '_' count as one`, {
        topic,
        other
      })
    }
    if (caseFolding && other.toLowerCase() === folded) {
      const message = `topic ${topic} collides with ${other}: this file system does not tell upper from lower case`
      throw new LogError('INVALID_TOPIC', message, { topic, other })
    }
  }
}

/** Longest name of a folder on the file systems that matter. */
const MAX_FOLDER_NAME = 255

/** `orders-0.0123456789abcdef0123456789abcdef-delete`, the topic's part cut where it would be too long, as in Kafka. */
export function deletedFolderName(topic: string, partition: number): string {
  const suffix = `-${partition}.${randomHex32()}-delete`
  return topic.slice(0, MAX_FOLDER_NAME - suffix.length) + suffix
}

function unify(topic: string): string {
  return topic.replaceAll('.', '_')
}
