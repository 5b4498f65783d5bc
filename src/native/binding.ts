/**
 * The native half of the npm package fuse-native, loaded and typed.
 *
 * Its JavaScript half is left aside: it answers each call through two closures and a timer, hands getattr to fgetattr,
 * copies an xattr value past the end of the caller's buffer, and unmounts through a shell with an unquoted path. The
 * native functions below are what it stands on.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { LayerfsError } from '../errors.js'

/** What libfuse's thread waits on (`fuse_thread_locals_t`): handed to a handler, and back to the signal that answers it. */
export type Request = Buffer

/** Called on the event loop for one request; it answers by the signal of the same name. */
export type Handler = (request: Request, op: number, ...args: never[]) => void

/** Operations whose answer is a result alone. */
export const PLAIN = [
  'flush',
  'fsync',
  'fsyncdir',
  'truncate',
  'ftruncate',
  'utimens',
  'chown',
  'chmod',
  'mknod',
  'removexattr',
  'release',
  'unlink',
  'rename',
  'link',
  'symlink',
  'mkdir',
  'rmdir',
] as const

/** All operations that we implement. `access` is the kernel's (default_permissions), `opendir` has nothing to keep. */
export const OPERATIONS = [
  ...PLAIN,
  'init',
  'statfs',
  'getattr',
  'fgetattr',
  'readdir',
  'readlink',
  'setxattr',
  'getxattr',
  'listxattr',
  'open',
  'create',
  'read',
  'write',
] as const

export type Plain = (typeof PLAIN)[number]
export type Operation = (typeof OPERATIONS)[number]

type Signal<T extends unknown[]> = (request: Request, result: number, ...answer: T) => void

export type Binding = {
  readonly sizeof_fuse_thread_t: number
  /**
   * Mounts and starts libfuse's threads. Throws where libfuse refuses, after it has told why on stderr.
   * @param thread zeroed, `sizeof_fuse_thread_t` bytes, never to be freed: the event loop keeps pointers into it
   * @param malloc gives the memory of a `Request`
   * @param implemented one number for each opcode, 1 where `handlers` has it
   */
  fuse_native_mount(
    mountpoint: string,
    options: string,
    thread: Buffer,
    context: object,
    malloc: (size: number) => Buffer,
    handlers: readonly Handler[],
    implemented: Uint32Array,
  ): void
  /** Lets the event loop end; it does not unmount. */
  fuse_native_unmount(mountpoint: string, thread: Buffer): void

  fuse_native_signal_init: Signal<[]>
  fuse_native_signal_statfs: Signal<[Uint32Array]>
  fuse_native_signal_getattr: Signal<[Uint32Array]>
  fuse_native_signal_fgetattr: Signal<[Uint32Array]>
  fuse_native_signal_readdir: Signal<[readonly string[], readonly Uint32Array[]]>
  fuse_native_signal_readlink: Signal<[string]>
  /** The value's ArrayBuffer is detached. */
  fuse_native_signal_setxattr: Signal<[ArrayBufferLike]>
  fuse_native_signal_getxattr: Signal<[ArrayBufferLike]>
  fuse_native_signal_listxattr: Signal<[ArrayBufferLike]>
  fuse_native_signal_open: Signal<[number]>
  fuse_native_signal_create: Signal<[number]>
  fuse_native_signal_read: Signal<[number, ArrayBufferLike]>
  fuse_native_signal_write: Signal<[number, ArrayBufferLike]>
} & { readonly [K in Operation as `op_${K}`]: number } & {
  readonly [K in Plain as `fuse_native_signal_${K}`]: Signal<[]>
}

/** dlopen(3): keep the library for the life of the process, though nothing refers to it yet. */
const RTLD_NODELETE = 0x1000

let loaded: Binding | undefined

/**
 * Loads the binding and the libfuse 2 that the package brings with it, once a process. Nothing is installed: the
 * package's own `configure` copies set-user-id programs into system directories, and is not needed.
 * @throws LayerfsError UNSUPPORTED
 */
export function loadBinding(): Binding {
  if (loaded !== undefined) return loaded
  const require = createRequire(import.meta.url)
  try {
    const manifest = require.resolve('fuse-native/package.json')
    const folder = dirname(manifest)
    keepLibfuse(join(folder, 'prebuilds', `${process.platform}-${process.arch}`, 'libfuse.so'))
    const build: unknown = createRequire(manifest)('node-gyp-build')
    if (typeof build !== 'function') throw new Error('node-gyp-build is not a function')
    const binding: Binding = build(folder)
    if (typeof binding.sizeof_fuse_thread_t !== 'number') throw new Error('it exports no fuse_native_mount')
    loaded = binding
    return binding
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new LayerfsError(
      'UNSUPPORTED',
      `the transport fuse-native cannot be loaded (${why}): use the transport kernel, or run npm install fuse-native on linux-x64`,
      { cause },
    )
  }
}

/**
 * The binding wants `libfuse.so.2` from the system's library path. The package's own copy bears that soname, so once it
 * is in the process the loader takes it. `process.dlopen` is made for addons, and rightly says that this is none.
 */
function keepLibfuse(path: string): void {
  if (!existsSync(path)) return
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | RTLD_NODELETE)
  } catch (error) {
    if (!(error instanceof Error && /did not self-register/.test(error.message))) throw error
  }
}
