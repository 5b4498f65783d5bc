import { describe, expect, it } from 'vitest'
import { Notify } from '../../src/fuse/notify.js'
import { str, u32, u64 } from './wire.js'

const setup = () => {
  const sent: Buffer[] = []
  const deferred: Buffer[] = []
  const notify = new Notify(
    (m) => sent.push(m),
    (m) => deferred.push(m),
  )
  return { sent, deferred, notify }
}

const message = (code: number, ...body: Buffer[]) => {
  const payload = Buffer.concat(body)
  return Buffer.concat([u32(16 + payload.length, code), u64(0), payload])
}

describe('messages to the kernel', () => {
  it('sends at once what takes no lock: attributes, and the epoch of all names', () => {
    const { sent, deferred, notify } = setup()
    notify.attributes(5)
    notify.epoch()
    expect(sent).toEqual([message(2, u64(5, -1, 0)), message(8)])
    expect(deferred).toEqual([])
  })

  it('leaves to another thread what could wait for a request of this one', () => {
    const { sent, deferred, notify } = setup()
    notify.pages(5, 4096, 0)
    notify.entry(1, 'caf\xe9')
    notify.remove(1, 5, 'gone')
    expect(sent).toEqual([])
    expect(deferred).toEqual([
      message(2, u64(5, 4096, 0)),
      message(3, u64(1), u32(4, 0), str('caf\xe9')),
      message(6, u64(1, 5), u32(4, 0), str('gone')),
    ])
  })
})
