/** Every byte of small data directories changed, every length cut, every file removed: see damage.child.ts. */
import t from 'tap'
import { SEED } from '../helpers/seed.ts'
import { damageAll, sumOf } from './damage.ts'
import { writeFigures } from './figures.ts'

t.setTimeout(1_200_000)

t.test('whatever byte is damaged, it is told, or changes no answer', async t => {
  const begun = performance.now()
  const found = await damageAll({ seed: SEED, processes: 2, step: 1 })
  t.comment(JSON.stringify(found.counts))
  t.equal(found.wrong, 0, found.said)
  t.ok(sumOf(found, 'refused') > 1000 && sumOf(found, 'harmless') > 1000, 'damage was done')
  writeFigures({
    lane: 'damage',
    seconds: Math.round((performance.now() - begun) / 1000),
    seed: SEED,
    figures: [
      {
        name: 'bytes damaged',
        goal: null,
        found: sumOf(found, undefined, ' flip'),
        unit: '',
        meaning:
          'One bit, drawn by the seed, of every byte of small directories of heartwood and Kafka: logs, indexes, snapshots, checkpoints, side-cars.'
      },
      {
        name: 'files cut or removed',
        goal: null,
        found: sumOf(found, undefined, ' cut') + sumOf(found, undefined, ' remove'),
        unit: '',
        meaning: 'At every length; files of more than 2,000 bytes, which are Kafka’s, at each seventh.'
      },
      {
        name: 'of these refused with an error that names the file or the partition',
        goal: null,
        found: sumOf(found, 'refused'),
        unit: '',
        meaning: 'When the log was opened, or when what is damaged was read.'
      },
      {
        name: 'of these in fields that Kafka’s format does not protect',
        goal: null,
        found: sumOf(found, 'unshowable'),
        unit: '',
        meaning:
          'Base offset and leader epoch of a batch are under no checksum; verify and the scrubber find them in sealed segments. Nor is the transaction index in a directory that only Kafka has written; in ours its digest is in the manifest.'
      },
      {
        name: 'wrong answers without a word',
        goal: 0,
        found: found.wrong,
        unit: '',
        meaning:
          'A record that was not written so, one that is missing without an error or a note, an error without a type.'
      }
    ],
    defects: found.wrong
  })
})
