/**
 * Inode numbers: a file shows the number of the file it came from, so that it stays the same through copy-up,
 * rename, FORGET and remount. overlayfs notes that origin as a file handle in `overlay.origin`; the handles of the
 * filesystems in use carry the inode number in plain.
 */

import { EOPNOTSUPP } from '../abi/linux.js'
import { type FileHandle, handleOf } from '../sys/handle.js'
import type { Name, Result } from '../vfs.js'
import type { Layer } from './layer.js'
import type { Loc } from './loc.js'

/** Numbers of further filesystems are told apart by bits above those that real inode numbers use. */
const NUMBER_BITS = 2 ** 44
const MAX_FILESYSTEMS = 2 ** 9

/** Maps (device, inode number) on disk to one number space: filesystem 0 keeps its numbers. */
export class InodeNumbers {
  private readonly devices = new Map<number, number>()

  /** @param layers the bottom layer's filesystem keeps its numbers */
  constructor(layers: readonly Layer[]) {
    for (const layer of [...layers].reverse()) this.indexOf(layer.dev)
  }

  private indexOf(dev: number): number {
    let index = this.devices.get(dev)
    if (index === undefined) {
      index = this.devices.size
      this.devices.set(dev, index)
    }
    return index
  }

  /** The shown number of a file on disk: below 2^53. */
  shown(dev: number, ino: number): number {
    const index = this.indexOf(dev)
    if (index === 0 && ino < Number.MAX_SAFE_INTEGER) return ino
    return (ino % NUMBER_BITS) + (index % MAX_FILESYSTEMS) * NUMBER_BITS
  }
}

// struct ovl_fb of the kernel's fs/overlayfs/overlayfs.h, as stored in overlay.origin.
const OVL_FH_VERSION = 0
const OVL_FH_MAGIC = 0xfb
const OVL_FH_FLAG_BIG_ENDIAN = 1
const OVL_FH_HEADER = 21

/** The value of `overlay.origin` for a file in a lower layer. -EOPNOTSUPP where its filesystem gives no handles. */
export function originOf(loc: Loc, name: Name): Buffer | Result {
  const fd = loc.fd()
  if (fd < 0) return fd
  const handle = handleOf(fd, name)
  return typeof handle === 'number' ? handle : encodeOrigin(handle, loc.layer.uuid)
}

function encodeOrigin(handle: FileHandle, uuid: Buffer): Buffer | Result {
  const size = OVL_FH_HEADER + handle.bytes.length
  if (size > 255) return -EOPNOTSUPP
  const value = Buffer.alloc(size)
  value[0] = OVL_FH_VERSION
  value[1] = OVL_FH_MAGIC
  value[2] = size
  value[3] = 0
  value[4] = handle.type
  uuid.copy(value, 5)
  handle.bytes.copy(value, OVL_FH_HEADER)
  return value
}

// Handle types of linux/exportfs.h that carry an inode number.
const FILEID_INO32_GEN = 1
const FILEID_BTRFS_WITHOUT_PARENT = 0x4d
const XFS_FILEID_INO64_GEN = 0x81

/** The inode number an origin names, and the UUID of its filesystem; undefined where this kind of handle does not tell. */
export function decodeOrigin(value: Buffer): { uuid: Buffer; ino: number } | undefined {
  if (value.length <= OVL_FH_HEADER || value[0] !== OVL_FH_VERSION || value[1] !== OVL_FH_MAGIC)
    return undefined
  if (((value[3] as number) & OVL_FH_FLAG_BIG_ENDIAN) !== 0 || value[2] !== value.length) return undefined
  const uuid = value.subarray(5, OVL_FH_HEADER)
  const fid = value.subarray(OVL_FH_HEADER)
  const ino64 = (at: number): number => fid.readUInt32LE(at) + fid.readUInt32LE(at + 4) * 2 ** 32
  switch (value[4]) {
    case FILEID_INO32_GEN:
      if (fid.length === 8) return { uuid, ino: fid.readUInt32LE(0) }
      // tmpfs: generation, then the number's low and high half.
      return fid.length === 12 ? { uuid, ino: ino64(4) } : undefined
    case XFS_FILEID_INO64_GEN:
      return fid.length >= 12 ? { uuid, ino: ino64(0) } : undefined
    case FILEID_BTRFS_WITHOUT_PARENT:
      return fid.length >= 20 ? { uuid, ino: ino64(0) } : undefined
    default:
      return undefined
  }
}
