/**
 * Id maps: which owner a file on disk shows as, and which owner a write stores.
 *
 * The triple is DISK:SHOWN:COUNT, as in fuse-overlayfs's uidmapping. The lookups run for every file that is
 * looked at: they allocate nothing, and an identity map costs one test.
 */
import { EINVAL, EOVERFLOW } from './abi/linux.js'
import { LayerfsError } from './errors.js'
import type { Result } from './vfs.js'

/** What an id without a mapping shows as: the kernel's default overflowuid (proc_sys_kernel(5)). */
export const OVERFLOW_ID = 65534

/** Largest id there is: 2^32 - 1 is (uid_t)-1, which means "no id". */
const MAX_ID = 0xfffffffe

/** `count` ids from `disk` on show as those from `shown` on. */
export interface IdRange {
  disk: number
  shown: number
  count: number
}

export type Direction = 'toShown' | 'toDisk'

/** `DISK:SHOWN:COUNT`. */
export const formatIdRange = (r: IdRange): string => `${r.disk}:${r.shown}:${r.count}`

/** Ranges joined by `:`, as `parseIdMap` reads them. */
export const formatIdMap = (ranges: readonly IdRange[]): string => ranges.map(formatIdRange).join(':')

const bad = (text: string, why: string): LayerfsError =>
  new LayerfsError('BAD_MAP', `bad id map "${text}": ${why}; write DISK:SHOWN:COUNT, such as 0:100000:65536`)

/** Reads one `DISK:SHOWN:COUNT`. @throws LayerfsError BAD_MAP */
export function parseIdRange(text: string): IdRange {
  const ranges = parseIdMap(text)
  const range = ranges[0]
  if (range === undefined || ranges.length !== 1) throw bad(text, 'one range expected')
  return range
}

/**
 * Reads ranges joined by `:`. A leading colon, as container engines write it, is ignored.
 * @throws LayerfsError BAD_MAP that names the range
 */
export function parseIdMap(text: string): IdRange[] {
  const fields = (text.startsWith(':') ? text.slice(1) : text).split(':')
  if (fields.length % 3 !== 0) throw bad(text, 'three numbers a range expected')
  const ranges: IdRange[] = []
  for (let i = 0; i < fields.length; i += 3) {
    const [disk, shown, count] = fields.slice(i, i + 3).map((field) => {
      if (!/^\d{1,10}$/.test(field)) throw bad(text, `"${field}" is not a number`)
      return Number(field)
    }) as [number, number, number]
    ranges.push({ disk, shown, count })
  }
  checkIdMap(ranges)
  return ranges
}

/** Refuses empty, overflowing and overlapping ranges. @throws LayerfsError BAD_MAP */
export function checkIdMap(ranges: readonly IdRange[]): void {
  for (const r of ranges) {
    const text = formatIdRange(r)
    if (![r.disk, r.shown, r.count].every((n) => Number.isInteger(n) && n >= 0))
      throw bad(text, 'ids and count are whole numbers from 0 on')
    if (r.count === 0) throw bad(text, 'the count is 0')
    if (r.disk + r.count - 1 > MAX_ID || r.shown + r.count - 1 > MAX_ID)
      throw bad(text, `it goes beyond the largest id, ${MAX_ID}`)
  }
  for (const side of ['disk', 'shown'] as const) {
    const sorted = [...ranges].sort((a, b) => a[side] - b[side])
    for (let i = 1; i < sorted.length; i++) {
      const before = sorted[i - 1] as IdRange
      const r = sorted[i] as IdRange
      if (before[side] + before.count > r[side])
        throw bad(formatIdRange(r), `its ${side} ids overlap those of ${formatIdRange(before)}`)
    }
  }
}

/** A map of user ids, or of group ids. */
export class IdMap {
  /** Every id shows as itself. */
  readonly identity: boolean
  /** disk, shown, count of each range in turn. */
  private readonly table: Float64Array
  private readonly squashed: number
  private readonly stored: number

  /** No ranges: identity. @throws LayerfsError BAD_MAP */
  constructor(ranges: readonly IdRange[] = [], squashed = -1, stored = squashed) {
    checkIdMap(ranges)
    this.table = Float64Array.from(ranges.flatMap((r) => [r.disk, r.shown, r.count]))
    this.squashed = squashed
    this.stored = stored
    this.identity = squashed < 0 && ranges.every((r) => r.disk === 0 && r.shown === 0 && r.count > MAX_ID)
  }

  static readonly IDENTITY = new IdMap()

  /**
   * Every id on disk shows as `id` (fuse-overlayfs's squash_to_uid). A write of `id` stores `stored`: `id` itself, or
   * the daemon's own id where it may give files to nobody else. A write of another id goes through `ranges`, or is
   * stored as it is where there are none.
   * @throws LayerfsError BAD_MAP
   */
  static squash(id: number, stored = id, ranges: readonly IdRange[] = []): IdMap {
    if (!Number.isInteger(id) || id < 0 || id > MAX_ID)
      throw new LayerfsError('BAD_MAP', `cannot squash to id ${id}: give an id from 0 to ${MAX_ID}`)
    return new IdMap(ranges, id, stored)
  }

  /** The id that `disk` shows as; OVERFLOW_ID where it has no mapping. */
  toShown(disk: number): number {
    if (this.identity) return disk
    if (this.squashed >= 0) return this.squashed
    const t = this.table
    for (let i = 0; i < t.length; i += 3) {
      const offset = disk - (t[i] as number)
      if (offset >= 0 && offset < (t[i + 2] as number)) return (t[i + 1] as number) + offset
    }
    return OVERFLOW_ID
  }

  /** The id to store for `shown`; -1 where it has no mapping, so that nothing may be stored. */
  toDisk(shown: number): number {
    if (this.identity) return shown
    if (shown === this.squashed) return this.stored
    const t = this.table
    if (t.length === 0) return shown
    for (let i = 0; i < t.length; i += 3) {
      const offset = shown - (t[i + 1] as number)
      if (offset >= 0 && offset < (t[i + 2] as number)) return (t[i] as number) + offset
    }
    return -1
  }
}

// struct posix_acl_xattr_header and posix_acl_xattr_entry of linux/posix_acl_xattr.h, little endian.
const ACL_VERSION = 2
const ACL_HEADER = 4
const ACL_ENTRY = 8
const ACL_USER = 0x02
const ACL_GROUP = 0x08
/** USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER. */
const ACL_TAGS = 0x01 | ACL_USER | 0x04 | ACL_GROUP | 0x10 | 0x20

/**
 * Maps, in place, the ids in the value of `system.posix_acl_access` or `system.posix_acl_default`.
 * Unmapped ids show as OVERFLOW_ID.
 * @returns 0; -EINVAL: not an ACL; -EOVERFLOW: an id without a mapping on its way to disk (the value is then half mapped)
 */
export function mapAcl(value: Buffer, users: IdMap, groups: IdMap, direction: Direction): Result {
  if (users.identity && groups.identity) return 0
  const size = value.length
  if (size < ACL_HEADER || (size - ACL_HEADER) % ACL_ENTRY !== 0) return -EINVAL
  if (value.readUInt32LE(0) !== ACL_VERSION) return -EINVAL
  for (let at = ACL_HEADER; at < size; at += ACL_ENTRY) {
    const tag = value.readUInt16LE(at)
    if ((tag & ACL_TAGS) !== tag || tag === 0 || (tag & (tag - 1)) !== 0) return -EINVAL
    if (tag !== ACL_USER && tag !== ACL_GROUP) continue
    const map = tag === ACL_USER ? users : groups
    const id = value.readUInt32LE(at + 4)
    const mapped = direction === 'toShown' ? map.toShown(id) : map.toDisk(id)
    if (mapped < 0) return -EOVERFLOW
    value.writeUInt32LE(mapped, at + 4)
  }
  return 0
}

// struct vfs_ns_cap_data of linux/capability.h, little endian.
const CAP_REVISION_MASK = 0xff000000
const CAP_REVISION_3 = 0x03000000
const CAP_V3_SIZE = 24
const CAP_ROOTID = 20

/**
 * Maps, in place, the rootid of a version 3 `security.capability`. Earlier versions carry no id and pass unchanged.
 * An unmapped rootid shows as OVERFLOW_ID.
 * @returns 0; -EINVAL: version 3 of the wrong size; -EOVERFLOW: a rootid without a mapping on its way to disk
 */
export function mapCapability(value: Buffer, users: IdMap, direction: Direction): Result {
  if (users.identity || value.length < 4) return 0
  if ((value.readUInt32LE(0) & CAP_REVISION_MASK) >>> 0 !== CAP_REVISION_3) return 0
  if (value.length !== CAP_V3_SIZE) return -EINVAL
  const id = value.readUInt32LE(CAP_ROOTID)
  const mapped = direction === 'toShown' ? users.toShown(id) : users.toDisk(id)
  if (mapped < 0) return -EOVERFLOW
  value.writeUInt32LE(mapped, CAP_ROOTID)
  return 0
}
