/** A pipe by which the kernel moves pages of a file into another descriptor: pipe(7), splice(2). */

import { O_CLOEXEC } from '../abi/linux.js'
import type { Result } from '../vfs.js'
import { writeFd } from './device.js'
import { close } from './file.js'
import { bind, result } from './libc.js'

const c = {
  pipe2: bind('int pipe2(void *, int)'),
  fcntl: bind('int fcntl(int, int, long)'),
  splice: bind('long splice(int, void *, int, void *, size_t, unsigned int)'),
}

const F_SETPIPE_SZ = 1031
const SPLICE_F_NONBLOCK = 2
const ends = Buffer.alloc(8)
const offset = Buffer.alloc(8)

export class Pipe {
  private constructor(
    private readonly out: number,
    private readonly into: number,
  ) {}

  /**
   * @param bytes what it is to hold; each piece put in counts as whole pages
   * @returns undefined where this user may have none of that size
   */
  static open(bytes: number): Pipe | undefined {
    if (c.pipe2(ends, O_CLOEXEC) < 0) return undefined
    const pipe = new Pipe(ends.readInt32LE(0), ends.readInt32LE(4))
    if (c.fcntl(pipe.into, F_SETPIPE_SZ, bytes) >= bytes) return pipe
    pipe.close()
    return undefined
  }

  write(src: Buffer, count: number): Result {
    return writeFd(this.into, src, count)
  }

  /** Takes in `count` bytes of a file from `pos` on. @returns less at its end; -EAGAIN where the pipe is full */
  fill(fd: number, pos: number, count: number): Result {
    for (let done = 0; done < count; ) {
      offset.writeBigInt64LE(BigInt(pos + done))
      const n = result(c.splice(fd, offset, this.into, null, count - done, SPLICE_F_NONBLOCK))
      if (n <= 0) return n < 0 ? n : done
      done += n
    }
    return count
  }

  /** Gives `count` bytes to a descriptor, in one piece. */
  drain(fd: number, count: number): Result {
    return result(c.splice(this.out, null, fd, null, count, 0))
  }

  close(): void {
    close(this.out)
    close(this.into)
  }
}
