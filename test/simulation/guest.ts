/** The topic that comes and goes: after a crash it is there whole, or not at all. */
import type { Actions } from './actions.ts'
import { History, Violation } from './history.ts'
import type { Life } from './life.ts'
import { GUEST, type SimulatedTopic } from './schedule.ts'

const TOPIC: SimulatedTopic = {
  name: GUEST,
  partitions: 1,
  durability: 'batch',
  isCompacted: false,
  retentionRecords: undefined,
  configs: { 'segment.bytes': '500', 'message.timestamp.after.max.ms': String(2 ** 50) }
}

export class GuestTopic {
  #state: 'absent' | 'coming' | 'present' | 'going' = 'absent'

  clone(): GuestTopic {
    const twin = new GuestTopic()
    twin.#state = this.#state
    return twin
  }

  async change(life: Life, actions: Actions): Promise<void> {
    await life.settle()
    const isThere = life.store.topics().some(({ topic }) => topic === GUEST)
    if (isThere) {
      this.#state = 'going'
      life.histories.delete(`${GUEST}-0`)
      const gone = await life.attempt('delete guest', async () => {
        await life.store.deleteTopic(GUEST)
        return true
      })
      if (gone) this.#state = 'absent'
      return
    }
    this.#state = 'coming'
    const made = await life.attempt('create guest', () => life.store.createTopic(GUEST, { configs: TOPIC.configs }))
    if (made === undefined) return
    this.#state = 'present'
    const history = new History(TOPIC, 0)
    life.histories.set(history.name, history)
    await actions.append({ kind: 'append', log: 0, keys: [2, 3], own: true, level: undefined, wait: true }, history)
  }

  /** After opening. */
  async check(life: Life): Promise<void> {
    const isThere = life.store.topics().some(({ topic }) => topic === GUEST)
    if (this.#state === 'present' && !isThere) throw new Violation('a topic that was created is gone')
    if (this.#state === 'absent' && isThere) throw new Violation('a topic that was deleted is back')
    if (this.#state === 'coming' || this.#state === 'going') {
      if (isThere) await this.#checkWhole(life)
      if (isThere) await life.attempt('delete guest', () => life.store.deleteTopic(GUEST))
      this.#state = 'absent'
    }
  }

  /** Nobody was told whether it is there; half of it must not be. */
  async #checkWhole(life: Life): Promise<void> {
    const { configs } = life.store.topics().find(({ topic }) => topic === GUEST) ?? {}
    for (const [name, value] of Object.entries(TOPIC.configs))
      if (configs?.[name] !== value) throw new Violation(`half of a topic is there: ${name} is ${configs?.[name]}`)
    await life.attempt('open guest', () => life.store.openLog(GUEST, 0))
  }
}
