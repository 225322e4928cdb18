import t from 'tap'
import { makeViewOf, viewOf } from '../../lib/util/buffer-view.ts'

const without = makeViewOf(Uint8Array)

for (const [name, view] of Object.entries({ viewOf, without })) {
  t.test(`${name}: a view is a Buffer like any other, over the same memory`, async t => {
    const bytes = Buffer.from('some bytes')
    const part = view(bytes.buffer, bytes.byteOffset + 5, 5)
    t.strictSame(part, bytes.subarray(5, 10))
    t.equal(Object.getPrototypeOf(part), Buffer.prototype)
    t.equal(part.toString(), 'bytes')
    part[0] = 0x42
    t.equal(bytes.toString(), 'some Bytes')
    t.equal(view(bytes.buffer, 0, 0).length, 0)
  })
}

t.test('what is no class of Buffers is not used', async t => {
  for (const species of [undefined, Buffer, Uint8Array, class extends Uint8Array {}, { prototype: Buffer.prototype }]) {
    const part = makeViewOf(species)(Uint8Array.of(1, 2, 3).buffer, 1, 2)
    t.ok(Buffer.isBuffer(part))
    t.strictSame([...part], [2, 3])
  }
})
