import t from 'tap'
import { checkLine, limitFor, limitsText, meets, unmatched } from '../../bench/harness/check-rules.ts'

t.test('a ratio has to reach its limit, a count must not exceed it', t => {
  t.equal(meets('ratio', 0.8, 0.8), true)
  t.equal(meets('ratio', 0.79, 0.8), false)
  t.equal(meets('count', 10, 10), true)
  t.equal(meets('count', 10.1, 10), false)
  t.equal(meets('ratio', Number.NaN, 0.8), false)
  t.equal(meets('count', Number.NaN, 10), false)
  t.end()
})

t.test('the line says what was found, what was asked, and whether it is enough', t => {
  t.equal(checkLine('scan', 'ratio', 0.8123, 0.7), "ok    scan: 0.812 of the bare loop's rate, at least 0.7")
  t.equal(checkLine('scan', 'ratio', 0.5, 0.7), "SHORT scan: 0.500 of the bare loop's rate, at least 0.7")
  t.equal(checkLine('calls', 'count', 1234.5, 1000), 'SHORT calls: 1235, at most 1000')
  t.end()
})

t.test('a check without a limit, and a limit without a check, are found', t => {
  t.same(unmatched(['a', 'b'], { a: 1, b: 2 }), [])
  t.same(unmatched(['a', 'b'], { b: 2, c: 3 }), ["no limit for 'a'", "a limit for 'c', which is not measured"])
  t.end()
})

t.test('limits are 20 % off on the safe side, to two digits', t => {
  t.equal(limitFor('ratio', 0.912), 0.72)
  t.equal(limitFor('ratio', 1.25), 1)
  t.equal(limitFor('count', 114.4), 140)
  t.equal(limitFor('count', 6974), 8400)
  t.equal(limitFor('count', 0), 1)
  t.equal(limitsText('MOST', 'count', new Map([['calls', 10]])), "const MOST: Limits = {\n  'calls': 12\n}")
  t.end()
})
