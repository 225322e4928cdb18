import t from 'tap'
import { countTap } from './count-tap.ts'

const HEAD = 'TAP version 14\n'

function counts(tap: string): [passed: number, failed: number, skipped: number] {
  const { passed, failed, skipped } = countTap(HEAD + tap)
  return [passed, failed, skipped]
}

t.test('an innermost test counts once, whatever the number of its assertions', async t => {
  const file = `# Subtest: a.test.js
    # Subtest: outer
        # Subtest: inner
            ok 1 - x
            ok 2 - y
            1..2
        ok 1 - inner
        # Subtest: other
            ok 1 - x
            1..1
        ok 2 - other
        1..2
    ok 1 - outer
    1..1
ok 1 - a.test.js
1..1
`
  t.same(counts(file), [2, 0, 0])
  const failing = file.replace('ok 2 - y', 'not ok 2 - y').replaceAll(/ok 1 - (inner|outer|a)/g, 'not ok 1 - $1')
  t.same(counts(failing), [1, 1, 0])
})

t.test('what was skipped has not passed', async t => {
  t.same(counts('# Subtest: a\n    ok 1 - x # SKIP no tool\n    1..1\nok 1 - a\n1..1\n'), [0, 0, 1])
  t.same(counts('# Subtest: a\n    ok 1 - x\n    ok 2 - y # TODO\n    1..2\nok 1 - a\n1..1\n'), [1, 0, 1])
  t.same(countTap(`${HEAD}ok 1 - x # SKIP no tool\n1..1\n`).skips, [{ name: 'x', reason: 'no tool' }])
})

t.test('a test that fails as a whole is a failure, though nothing in it failed', async t => {
  t.same(counts('# Subtest: a\n    ok 1 - x\n    1..1\nnot ok 1 - a # time limit\n1..1\n'), [0, 1, 0])
  const failing = countTap(`${HEAD}# Subtest: a\n    not ok 1 - x\n    1..1\nnot ok 1 - a\n1..1\n`)
  t.same(failing.failures, [{ name: 'a > x', found: '' }])
})

t.test('TAP that breaks off, or is none, is a failure', async t => {
  t.same(counts('# Subtest: a\n    ok 1 - x\n    1..1\nok 1 - a\n1..7\n')[1], 1)
  t.same(counts('# Subtest: a\n    ok 1 - x\n')[1], 1)
  t.same(counts('Bail out! no room\n')[1], 1)
  t.same(countTap('').failed, 1)
})
