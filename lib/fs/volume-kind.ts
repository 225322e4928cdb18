import { LogError } from '../util/errors.ts'
import type { FileSystem } from './file-system.ts'

export interface VolumeKind {
  /** `ext4`, `xfs`, `nfs`; `0x…` when the number is not in our table. */
  readonly name: string
  /**
   * - `local`: a disk's file system; what is promised holds.
   * - `memory`: gone with the machine, but otherwise local.
   * - `network`: locks, renames and syncs are the server's word; writing is refused unless forced.
   * - `unknown`: FUSE, for one, where anything may lie behind.
   */
  readonly kind: 'local' | 'memory' | 'network' | 'unknown'
}

/** f_type of statfs(2), from the kernel's magic.h and the file systems' own headers. */
const KINDS: ReadonlyMap<number, VolumeKind> = new Map([
  [0xef53, { name: 'ext4', kind: 'local' }],
  [0x58465342, { name: 'xfs', kind: 'local' }],
  [0x9123683e, { name: 'btrfs', kind: 'local' }],
  [0x2fc12fc1, { name: 'zfs', kind: 'local' }],
  [0xf2f52010, { name: 'f2fs', kind: 'local' }],
  [0xca451a4e, { name: 'bcachefs', kind: 'local' }],
  [0x794c7630, { name: 'overlayfs', kind: 'local' }],
  [0x01021994, { name: 'tmpfs', kind: 'memory' }],
  [0x858458f6, { name: 'ramfs', kind: 'memory' }],
  [0x6969, { name: 'nfs', kind: 'network' }],
  [0x517b, { name: 'smb', kind: 'network' }],
  [0xff534d42, { name: 'cifs', kind: 'network' }],
  [0xfe534d42, { name: 'smb2', kind: 'network' }],
  [0x01021997, { name: '9p', kind: 'network' }],
  [0x00c36400, { name: 'ceph', kind: 'network' }],
  [0x0bd00bd0, { name: 'lustre', kind: 'network' }],
  [0x01161970, { name: 'gfs2', kind: 'network' }],
  [0x7461636f, { name: 'ocfs2', kind: 'network' }],
  [0x5346414f, { name: 'afs', kind: 'network' }],
  [0x73757245, { name: 'coda', kind: 'network' }],
  [0x786f4256, { name: 'vboxsf', kind: 'network' }],
  [0x65735546, { name: 'fuse', kind: 'unknown' }]
])

/** What a type number of `FileSystem.volume` stands for. Outside Linux the numbers mean nothing: `unknown`. */
export function volumeKind(type: number): VolumeKind {
  // Some systems give the number as signed.
  const unsigned = type >>> 0
  return KINDS.get(unsigned) ?? { name: `0x${unsigned.toString(16)}`, kind: 'unknown' }
}

/**
 * Refuses a volume on which the promises of this library do not hold.
 *
 * @param options.force - the operator answers for it.
 * @throws {LogError} UNSAFE_FILE_SYSTEM for NFS, SMB, 9p and their like.
 */
export async function assertSafeVolume(
  fs: FileSystem,
  path: string,
  { force = false }: { force?: boolean } = {}
): Promise<VolumeKind> {
  const { type } = await fs.volume(path)
  const found = volumeKind(type)
  if (found.kind === 'network' && !force) {
    const message =
      `${path} lies on ${found.name}: locks and syncs of a network file system do not keep what is promised here. ` +
      'Use a local disk, or force it and answer for it yourself'
    throw new LogError('UNSAFE_FILE_SYSTEM', message, { path, fileSystem: found.name })
  }
  return found
}
