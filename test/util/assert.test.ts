import t from 'tap'
import { AssertionError, assert } from '../../lib/util/assert.ts'
import { isLogError, LogError } from '../../lib/util/errors.ts'

t.test('an assertion that holds says nothing, one that does not is no operating error', async t => {
  assert('something', 'anything truthy holds')
  t.throws(() => assert(false, 'the reason'), { name: 'AssertionError', message: 'the reason' })
  t.notOk(isLogError(new AssertionError('x')))
})

t.test('an operating error carries code, numbers and cause', async t => {
  const cause = new Error('below')
  const error = new LogError('NO_SPACE', 'the disk is full', { free: 0 }, cause)
  t.match(error, { name: 'LogError', code: 'NO_SPACE', message: 'the disk is full', details: { free: 0 }, cause })
  t.ok(isLogError(error) && isLogError(error, 'NO_SPACE'))
  t.notOk(isLogError(error, 'LOCKED'))
  t.notOk('cause' in new LogError('LOCKED', 'without one'))
})
