import fc from 'fast-check'
import t from 'tap'
import { AckQueue } from '../../lib/log/offset-waiters.ts'

t.test('whatever the order, each is told once: passed, or refused, in the order of the offsets', async t => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('push' as const), offset: fc.integer({ min: 0, max: 30 }) })
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constantFrom('passed' as const, 'refuse' as const),
        offset: fc.integer({ min: 0, max: 32 })
      })
    }
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const queue = new AckQueue()
      let waiting: { offset: number; id: number }[] = []
      const told: string[] = []
      const wanted: string[] = []
      for (const [id, { kind, offset }] of steps.entries()) {
        if (kind === 'push') {
          queue.push(
            offset,
            (value: number) => void told.push(`${value} passed`),
            error => void told.push(`${id} ${error}`),
            id
          )
          waiting.push({ offset, id })
          waiting.sort((a, b) => a.offset - b.offset || a.id - b.id)
        } else {
          const isTold = (one: { offset: number }): boolean =>
            kind === 'passed' ? one.offset < offset : one.offset >= offset
          for (const one of waiting.filter(isTold)) wanted.push(`${one.id} ${kind === 'passed' ? kind : 'refused'}`)
          waiting = waiting.filter(one => !isTold(one))
          if (kind === 'passed') queue.passed(offset)
          else queue.rejectFrom(offset, 'refused')
        }
        if (queue.length !== waiting.length) return false
      }
      return told.join() === wanted.join()
    }),
    { numRuns: 500, seed: 1 }
  )
  t.pass()
})
