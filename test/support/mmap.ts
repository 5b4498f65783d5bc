import koffi from 'koffi'

const libc = koffi.load('libc.so.6')
const c = {
  mmap: libc.func('void *mmap(void *, size_t, int, int, int, long)') as unknown as (
    at: null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => bigint,
  munmap: libc.func('int munmap(void *, size_t)') as unknown as (at: bigint, length: number) => number,
  msync: libc.func('int msync(void *, size_t, int)') as unknown as (
    at: bigint,
    length: number,
    flags: number,
  ) => number,
}

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const MS_SYNC = 4

/** A shared mapping of an open file, as bytes. */
export class Mapping {
  readonly bytes: Uint8Array
  private readonly at: bigint

  constructor(
    fd: number,
    private readonly length: number,
    writable: boolean,
  ) {
    this.at = c.mmap(null, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0)
    if (this.at === 0xffffffffffffffffn) throw new Error(`mmap failed: errno ${koffi.errno()}`)
    this.bytes = new Uint8Array(koffi.view(this.at, length))
  }

  sync(): void {
    if (c.msync(this.at, this.length, MS_SYNC) !== 0) throw new Error(`msync failed: errno ${koffi.errno()}`)
  }

  unmap(): void {
    c.munmap(this.at, this.length)
  }
}
