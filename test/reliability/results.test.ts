import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../helpers/paths.ts'
import { pageOf, readResults } from './results.ts'

t.test('the page is what its figures and the list of defects give', async t => {
  const { results, defects, page } = readResults()
  t.equal(page, pageOf(results, defects))
})

t.test('every lane found nothing wrong, and no figure is below its goal', async t => {
  for (const { lane, figures, defects } of readResults().results.lanes) {
    t.equal(defects, 0, lane)
    for (const { name, goal, found } of figures) t.ok(goal === null || found >= goal, `${lane}: ${name}`)
  }
})

t.test('each past defect names a test that is there', async t => {
  for (const { what, test } of readResults().defects) t.ok(existsSync(join(projectRoot, test)), `${what}: ${test}`)
})
