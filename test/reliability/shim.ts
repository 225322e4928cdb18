/** The library that ends a process at one of its calls, compiled when there is a compiler. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { projectRoot } from '../helpers/paths.ts'

/** @returns where the library is, or why there is none. */
export function compileShim(folder: string): { readonly path: string } | { readonly reason: string } {
  if (process.platform !== 'linux') return { reason: 'the shim is for Linux' }
  const path = join(folder, 'crash-shim.so')
  const source = join(projectRoot, 'test', 'reliability', 'crash-shim.c')
  const { status, error, stderr } = spawnSync('cc', ['-O2', '-shared', '-fPIC', '-o', path, source, '-ldl'])
  if (error !== undefined) return { reason: 'there is no C compiler (cc)' }
  if (status !== 0) throw new Error(`cc failed: ${stderr}`)
  return { path }
}

/** @param at - number of the call, from 1 on; 0: count only. */
export function shimEnvironment(shim: string, dir: string, at: number, isHalf: boolean): Record<string, string> {
  return {
    LD_PRELOAD: shim,
    HEARTWOOD_CRASH_AT: String(at),
    HEARTWOOD_CRASH_BELOW: dir,
    ...(isHalf && { HEARTWOOD_CRASH_HALF: '1' }),
    // Else libuv may pass its calls to the kernel by io_uring, where no library sees them.
    UV_USE_IO_URING: '0'
  }
}
