import { randomUUID } from 'node:crypto'

/** Kafka's ids: the 16 bytes of a UUID in base64url without padding. */
const KAFKA_UUID = /^[A-Za-z0-9_-]{22}$/

/** Kafka reserves 0 ("no id") and 1 (the metadata topic's own id). */
const RESERVED_BELOW = 100n

/**
 * A random id as Kafka makes them: never one of the reserved ones, never with a leading '-', which a command line
 * would take for an option.
 */
export function randomKafkaUuid(): string {
  for (;;) {
    const text = Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url')
    if (!text.startsWith('-') && isTopicUuid(text)) return text
  }
}

/** True for the text of any 16 bytes. */
export function isKafkaUuid(text: string): boolean {
  // 22 characters hold 132 bits: the last four must be zero, or the text is not what any id is printed as.
  return KAFKA_UUID.test(text) && Buffer.from(text, 'base64url').toString('base64url') === text
}

/** True for an id that a topic can have. */
export function isTopicUuid(text: string): boolean {
  if (!isKafkaUuid(text)) return false
  return BigInt(`0x${Buffer.from(text, 'base64url').toString('hex')}`) >= RESERVED_BELOW
}

/** 32 hexadecimal digits, as in the name of a folder on its way out: `orders-0.0123…-delete`. */
export function randomHex32(): string {
  return randomUUID().replaceAll('-', '')
}
