import fc from 'fast-check'
import t from 'tap'
import {
  formatCheckpoint,
  parseCheckpoint,
  readOffsetCheckpoint,
  writeOffsetCheckpoint
} from '../../lib/fs/checkpoint-file.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { replaceFile } from '../../lib/fs/replace-file.ts'

t.test("an offset checkpoint has Kafka's bytes", async t => {
  const fs = new MemoryFileSystem()
  const offsets = new Map([
    ['orders-0', 17],
    ['orders.by-day-12', 9007199254740991]
  ])
  await writeOffsetCheckpoint(fs, '/recovery-point-offset-checkpoint', offsets)
  t.equal(
    await content(fs, '/recovery-point-offset-checkpoint'),
    '0\n2\norders 0 17\norders.by-day 12 9007199254740991\n'
  )
  t.strictSame(await readOffsetCheckpoint(fs, '/recovery-point-offset-checkpoint'), offsets)
})

t.test('a missing, an empty and a fresh checkpoint have no entries', async t => {
  t.strictSame(await read(undefined), new Map())
  for (const text of ['', '0', '0\n', '0\n0\n']) t.strictSame(await read(text), new Map(), JSON.stringify(text))
})

t.test('what Kafka accepts is accepted: no last line end, other white space, Windows line ends', async t => {
  for (const text of ['0\n1\na 0 5', '0\n1\na\t0  5\n', '0\r\n1\r\na 0 5\r\n']) {
    t.strictSame(await read(text), new Map([['a-0', 5]]), JSON.stringify(text))
  }
})

t.test('half a checkpoint is none: wrong count and malformed lines damn the file', async t => {
  const damaged = {
    'fewer lines than announced': '0\n2\na 0 5\n',
    'more lines than announced': '0\n1\na 0 5\nb 0 6\n',
    'a line cut off': '0\n1\na 0\n',
    'a field too many': '0\n1\na 0 5 6\n',
    'no number': '0\n1\na 0 x\n',
    'a negative offset': '0\n1\na 0 -5\n',
    'an offset that no number holds exactly': '0\n1\na 0 9007199254740993\n',
    'an empty line': '0\n1\n\n',
    'no count': '0\nx\n',
    'no version': 'x\n0\n',
    zeros: '\0'.repeat(30)
  }
  for (const [what, text] of Object.entries(damaged)) await t.rejects(read(text), { code: 'CORRUPT_FILE' }, what)
  await t.rejects(read('1\n0\n'), { code: 'UNSUPPORTED_VERSION' })
})

t.test('what is no partition or no offset is never written', async t => {
  const fs = new MemoryFileSystem()
  for (const [folder, offset] of [
    ['orders', 1],
    ['a b-0', 1],
    ['a-x', 1],
    ['a-0', -1],
    ['a-0', 0.5]
  ] as const) {
    await t.rejects(writeOffsetCheckpoint(fs, '/c', [[folder, offset]]), TypeError)
  }
  t.equal(await fs.stat('/c'), undefined)
})

t.test('lines of any kind come back as they were written', async () => {
  const entry = fc.tuple(fc.nat(), fc.nat(Number.MAX_SAFE_INTEGER))
  fc.assert(
    fc.property(fc.array(entry), entries => {
      const bytes = formatCheckpoint(entries.map(([epoch, offset]) => `${epoch} ${offset}`))
      const parsed = parseCheckpoint(bytes, 'x', ([epoch, offset]) => [Number(epoch), Number(offset)])
      return JSON.stringify(parsed) === JSON.stringify(entries)
    })
  )
})

t.test('whatever the bytes, the outcome is entries or a typed error', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.string(), fc.stringMatching(/^0\n[0-9]\n([a-c] [0-9] [0-9-]\n){0,9}$/)),
      async text => {
        try {
          await read(text)
        } catch (error) {
          if (!['CORRUPT_FILE', 'UNSUPPORTED_VERSION'].includes((error as { code: string }).code)) throw error
        }
      }
    )
  )
})

async function read(text: string | undefined): Promise<Map<string, number>> {
  const fs = new MemoryFileSystem()
  if (text !== undefined) await replaceFile(fs, '/c', Buffer.from(text))
  return readOffsetCheckpoint(fs, '/c')
}

async function content(fs: MemoryFileSystem, path: string): Promise<string> {
  const handle = await fs.open(path, 'read')
  const target = Buffer.alloc(1000)
  return target.toString('utf8', 0, await handle.read(target, 0))
}
