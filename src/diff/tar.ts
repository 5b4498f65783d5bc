/** A tar archive as bytes: POSIX.1-2001 (pax), whose records carry names and xattr values of any bytes, and long ones. */

const BLOCK = 512

/** Typeflags of ustar. */
export const TAR = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
} as const

/** One member. Names are bytes. */
export interface Member {
  type: (typeof TAR)[keyof typeof TAR]
  path: string
  /** Permission bits. */
  mode: number
  uid: number
  gid: number
  /** Bytes of content that follow. */
  size: number
  mtime: number
  mtimeNs: number
  /** Target of a symlink, or the member that a link is another name of. */
  target?: string
  device?: readonly [major: number, minor: number]
  /** Name and value. */
  xattrs?: readonly (readonly [string, Buffer])[]
}

const MAX_OCTAL = 0o7777777
const MAX_SIZE = 0o77777777777
const isAscii = (s: string): boolean => /^[\x20-\x7e]*$/.test(s)

/** The header of a member: where it does not fit the old fields, a pax header comes first. */
export function header(member: Member): Buffer {
  const records: Buffer[] = []
  const record = (key: string, value: string | Buffer): void => {
    records.push(paxRecord(key, typeof value === 'string' ? Buffer.from(value, 'latin1') : value))
  }
  const { path, target } = member
  if (path.length > 100 || !isAscii(path)) record('path', path)
  if (target !== undefined && (target.length > 100 || !isAscii(target))) record('linkpath', target)
  if (member.uid > MAX_OCTAL) record('uid', String(member.uid))
  if (member.gid > MAX_OCTAL) record('gid', String(member.gid))
  if (member.size > MAX_SIZE) record('size', String(member.size))
  if (member.mtimeNs !== 0 || member.mtime < 0 || member.mtime > MAX_SIZE) record('mtime', paxTime(member))
  for (const [name, value] of member.xattrs ?? []) record(`SCHILY.xattr.${name}`, value)
  const block = ustar(member, member.type)
  if (records.length === 0) return block
  const body = Buffer.concat(records)
  const pax = { ...member, path: 'PaxHeader', target: '', size: body.length, mode: 0o644 }
  return Buffer.concat([ustar(pax, 'x'), body, padding(body.length), block])
}

/** What fills the last block of `size` bytes of content. */
export const padding = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)

/** What ends an archive. */
export const trailer = (): Buffer => Buffer.alloc(2 * BLOCK)

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), value, Buffer.from('\n')])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** Decimal seconds; a time before the epoch has its fraction counted down from zero, as in -0.5. */
function paxTime({ mtime, mtimeNs }: Member): string {
  const negative = mtime < 0 && mtimeNs > 0
  const seconds = negative ? mtime + 1 : mtime
  const ns = negative ? 1e9 - mtimeNs : mtimeNs
  const sign = negative && seconds === 0 ? '-' : ''
  return `${sign}${seconds}.${String(ns).padStart(9, '0')}`
}

function ustar(member: Member, type: string): Buffer {
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, at: number, length: number): void => {
    const most = 8 ** (length - 1) - 1
    const fits = Math.min(Math.max(0, Math.floor(value)), most)
    block.write(fits.toString(8).padStart(length - 1, '0'), at, 'latin1')
  }
  block.write(ascii(member.path), 0, 100, 'latin1')
  octal(member.mode, 100, 8)
  octal(member.uid, 108, 8)
  octal(member.gid, 116, 8)
  octal(member.size, 124, 12)
  octal(member.mtime, 136, 12)
  block.write('        ', 148, 'latin1')
  block.write(type, 156, 'latin1')
  block.write(ascii(member.target ?? ''), 157, 100, 'latin1')
  block.write('ustar\0' + '00', 257, 'latin1')
  octal(member.device?.[0] ?? 0, 329, 8)
  octal(member.device?.[1] ?? 0, 337, 8)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** What the old fields show of a name; the pax record has it whole. */
const ascii = (name: string): string => name.slice(0, 100).replaceAll(/[^\x20-\x7e]/g, '_')
