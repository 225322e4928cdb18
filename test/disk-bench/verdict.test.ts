/** The rules by which figures become words, case by case. */
import t from 'tap'
import type { BlockDevice } from '../../lib/disk-bench/block-device.ts'
import type { DeviceFacts } from '../../lib/disk-bench/machine-facts.ts'
import {
  adviseDurability,
  type DurabilityAdvice,
  inWords,
  judgeSync,
  type SyncVerdict
} from '../../lib/disk-bench/verdict.ts'

function disk(fields: Partial<BlockDevice>): BlockDevice {
  return { name: 'sda', isRotational: false, writeCache: 'write back', isVirtual: false, parts: [], ...fields }
}

function on(device: BlockDevice | undefined, fields: Partial<DeviceFacts> = {}): DeviceFacts {
  return { fileSystem: 'ext4', kind: 'local', ...(device === undefined ? {} : { device }), ...fields }
}

const FLASH = on(disk({ name: 'nvme0n1' }))
const PLATTER = on(disk({ isRotational: true }))
const VIRTUAL = on(disk({ name: 'vda', isRotational: true, isVirtual: true }))
const THROUGH = on(disk({ name: 'nvme0n1', writeCache: 'write through' }))
const MAPPED = on(disk({ name: 'dm-0', parts: [disk({ isRotational: true }), disk({ isRotational: true })] }))
const MIXED = on(disk({ name: 'dm-0', parts: [disk({ isRotational: true }), disk({ name: 'nvme0n1' })] }))

t.test('whether a sync can be believed: file system, disk and its time decide', async t => {
  const cases: [string, DeviceFacts, number | undefined, SyncVerdict, RegExp][] = [
    ['tmpfs', on(undefined, { kind: 'memory', fileSystem: 'tmpfs' }), 0.5, 'absent', /does nothing/],
    ['memory, however long it takes', on(undefined, { kind: 'memory' }), 5000, 'absent', /does nothing/],
    ['nothing measured', FLASH, undefined, 'undecidable', /No sync was measured/],
    ['faster than a bus', THROUGH, 2, 'too-fast', /less than 5 us/],
    ['persistent memory has no bus', on(disk({ name: 'pmem0' })), 2, 'plausible', /persistent memory/],
    ['flash, faster than cells', FLASH, 20, 'too-fast', /power-loss protection/],
    ['flash, at the bound', FLASH, 50, 'plausible', /time enough for flash/],
    ['flash', FLASH, 800, 'plausible', /flash/],
    ['no volatile cache: no flush is sent', THROUGH, 20, 'plausible', /write through/],
    ['a platter that does not turn', PLATTER, 300, 'too-fast', /a turn/],
    ['a platter', PLATTER, 8000, 'plausible', /platter/],
    ['an array of platters', MAPPED, 300, 'too-fast', /a turn/],
    ['platters behind flash are judged as flash', MIXED, 300, 'plausible', /flash/],
    ['virtual, not even the host', VIRTUAL, 12, 'too-fast', /host keeps it in memory/],
    ['virtual, fast', VIRTUAL, 140, 'undecidable', /ask whoever runs the host/],
    ['virtual, slow', VIRTUAL, 2500, 'plausible', /the host's word/],
    ['mounted without barriers', { ...FLASH, mountOptions: ['rw', 'nobarrier'] }, 800, 'too-fast', /nobarrier/],
    ['the same in other words', { ...FLASH, mountOptions: ['barrier=0'] }, 800, 'too-fast', /barrier=0/],
    ['no barriers needed', { ...THROUGH, mountOptions: ['nobarrier'] }, 800, 'plausible', /write through/],
    ['a server', on(undefined, { kind: 'network', fileSystem: 'nfs' }), 3000, 'undecidable', /cannot be seen/],
    ['a server that answers from nowhere', on(undefined, { kind: 'network' }), 9, 'too-fast', /cannot be seen/],
    ['no device to look at', on(undefined), 400, 'undecidable', /cannot be seen/],
    [
      'a file on a disk',
      on(disk({ name: 'loop0', backingFile: '/images/a', parts: [disk({ name: 'sda' })] })),
      400,
      'plausible',
      /It is a file \(\/images\/a\) on sda/
    ]
  ]
  for (const [name, device, p50Us, verdict, because] of cases) {
    const judged = judgeSync({ device, machine: { isVirtual: false }, p50Us })
    t.equal(judged.verdict, verdict, name)
    t.match(judged.because.join(' '), because, name)
  }
  const inGuest = judgeSync({ device: FLASH, machine: { isVirtual: true }, p50Us: 140 })
  t.equal(inGuest.verdict, 'undecidable', 'in a virtual machine every disk is what the host makes of it')
})

t.test('which level a disk can afford: the slowest sync in a hundred and what 64 writers get', async t => {
  const cases: [string, SyncVerdict, [p50Us: number, p99Us: number] | undefined, number, DurabilityAdvice['level']][] =
    [
      ['flash', 'plausible', [800, 3000], 40_000, 'batch'],
      ['at both bounds', 'plausible', [5000, 20_000], 1000, 'batch'],
      ['one in a hundred is too slow', 'plausible', [5000, 20_001], 9000, 'interval'],
      ['64 writers get too little', 'plausible', [5000, 20_000], 999, 'interval'],
      ['a platter', 'plausible', [17_000, 60_000], 3500, 'interval'],
      ['at the bound of interval', 'plausible', [100_000, 500_000], 300, 'interval'],
      ['a card', 'plausible', [200_000, 900_000], 200, 'none'],
      ['memory', 'absent', [1, 1], 300_000, 'none'],
      ['not measured', 'undecidable', undefined, 0, 'interval']
    ]
  for (const [name, sync, latency, acks64, level] of cases) {
    const append4k = latency === undefined ? undefined : { p50Us: latency[0], p99Us: latency[1], maxUs: latency[1] }
    const advice = adviseDurability({ sync, append4k, acks1: 100, acks64, recordsPerSecond: 1e6 })
    t.equal(advice.level, level, name)
    t.ok(advice.because.length > 0, name)
  }
})

t.test('the advice for a sync that is too fast says that batch holds nothing yet', async t => {
  const append4k = { p50Us: 3, p99Us: 5, maxUs: 9 }
  const advise = (sync: SyncVerdict): string =>
    adviseDurability({ sync, append4k, acks1: 9000, acks64: 90_000, recordsPerSecond: undefined }).because.join(' ')
  t.match(advise('too-fast'), /batch keeps no more here than none would/)
  t.notMatch(advise('plausible'), /keeps no more/)
})

t.test('times are told with two digits and the unit that fits', async t => {
  const cases: [number, string][] = [
    [0.64, '0.64 us'],
    [85.4, '85 us'],
    [270, '270 us'],
    [1240, '1.2 ms'],
    [17_400, '17 ms'],
    [1_500_000, '1.5 s']
  ]
  for (const [microseconds, text] of cases) t.equal(inWords(microseconds), text)
})
