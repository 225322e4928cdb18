import t from 'tap'
import { type FoundFiles, judgeLastVisitor } from '../../lib/store/last-visitor.ts'
import { emptyTopicsFile, type TopicsFile } from '../../lib/store/topics-file.ts'

const CHECKPOINT = 'recovery-point-offset-checkpoint'

function found(changes: Partial<FoundFiles> & { marker?: TopicsFile['marker']; known?: string[] }): FoundFiles {
  const topicsFile = emptyTopicsFile()
  topicsFile.marker = changes.marker
  if (changes.known !== undefined) topicsFile.checkpoints.set(CHECKPOINT, changes.known)
  return { topicsFile, markerDigest: undefined, markerIsEmpty: false, checkpoints: new Map(), ...changes }
}

const confirmed = { digest: 'D', confirmed: true }
const opened = { digest: 'D', confirmed: false }

t.test('the table in the head of last-visitor.ts holds', async t => {
  const verdict = (changes: Parameters<typeof found>[0]) => {
    const { clean, otherEngine } = judgeLastVisitor(found(changes))
    return [otherEngine === undefined ? 'we' : 'other', clean ? 'clean' : 'unclean'].join(' ')
  }
  t.equal(verdict({ topicsFile: undefined, markerDigest: 'X' }), 'other clean')
  t.equal(verdict({ topicsFile: undefined }), 'other unclean')
  t.equal(verdict({ marker: confirmed, markerDigest: 'D' }), 'we clean')
  t.equal(verdict({ marker: confirmed, asideDigest: 'D' }), 'we unclean')
  t.equal(verdict({ marker: confirmed, asideDigest: 'X' }), 'other unclean')
  t.equal(verdict({ marker: confirmed }), 'other unclean')
  t.equal(verdict({ marker: confirmed, markerDigest: 'X' }), 'other clean')
  t.equal(verdict({ marker: opened, markerDigest: 'D' }), 'we clean')
  t.equal(verdict({ marker: opened }), 'we unclean')
  t.equal(verdict({}), 'we unclean', 'opened without a marker, crashed')
  t.equal(verdict({ markerDigest: 'X' }), 'other clean')
  t.equal(verdict({ marker: opened, markerDigest: 'X' }), 'other clean')
})

t.test('an empty marker is never ours, for all empty ones look the same', async t => {
  const { otherEngine } = judgeLastVisitor(found({ marker: opened, markerDigest: 'D', markerIsEmpty: true }))
  t.ok(otherEngine)
})

t.test('a checkpoint that is not as we wrote it, is missing, or is new, tells of another engine', async t => {
  const judge = (known: string[] | undefined, digest: string | undefined) =>
    judgeLastVisitor(
      found({
        marker: confirmed,
        markerDigest: 'D',
        ...(known === undefined ? {} : { known }),
        checkpoints: new Map(digest === undefined ? [] : [[CHECKPOINT, digest]])
      })
    ).otherEngine
  t.equal(judge(['a'], 'a'), undefined)
  t.equal(judge(['b', 'a'], 'a'), undefined, 'a crash between announcing and writing is ours too')
  t.match(judge(['a'], 'b'), /is not the one that we wrote/)
  t.match(judge(['a'], undefined), /is not the one that we wrote/)
  t.match(judge(undefined, 'a'), /is not ours/)
})
