/**
 * Removing a topic, as Kafka does: its folders are renamed `TOPIC-P.UUID-delete`, then emptied.
 *
 *     1  logs closed, their files let go
 *     2  side-car: entry says "delete", new names are in `trash`
 *     3  folders renamed, directory synced        the topic is gone from here on
 *     4  side-car without the entry, checkpoints without the lines
 *     5  folders emptied and removed
 *
 * A crash after 2 is ended by the next open for writing.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import type { DataDirectory } from './data-directory.ts'
import type { PartitionFolder } from './directory-listing.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { CHECKPOINT_KINDS } from './offset-checkpoints.ts'
import { removeTree } from './remove-tree.ts'
import { translated } from './storage-errors.ts'
import { deletedFolderName } from './topic-names.ts'
import type { TopicEntry } from './topics-file.ts'

export class TopicRemoval {
  readonly #fs: FileSystem
  readonly #table: LogTable

  constructor(fs: FileSystem, table: LogTable) {
    this.#fs = fs
    this.#table = table
  }

  async remove(topic: string, entry: TopicEntry, slots: readonly LogSlot[]): Promise<void> {
    // Out of the table first: nobody opens it any more.
    for (const slot of slots) this.#table.remove(slot)
    for (const slot of slots) await this.#table.letGo(slot)
    const directories = new Set(slots.map(slot => slot.directory))
    // All of them before anything can fail: who makes the topic anew ends what is left of this.
    for (const { topicsFile } of directories) topicsFile.topics.set(topic, { ...entry, pending: 'delete' })
    for (const directory of directories) {
      const folders = slots.filter(slot => slot.directory === directory).map(slot => slot.folder)
      await this.#renameAll(directory, folders)
    }
    for (const directory of directories) {
      directory.topicsFile.topics.delete(topic)
      await directory.saveCheckpoints()
      await directory.saveTopicsFile()
      await this.#emptyTrash(directory)
    }
  }

  /** Ends the removals that a crash interrupted in this directory. */
  async finish(directory: DataDirectory): Promise<void> {
    const { topicsFile, partitions } = directory
    const deleted = [...topicsFile.topics].filter(([, entry]) => entry.pending === 'delete').map(([topic]) => topic)
    for (const topic of deleted) {
      const folders = [...partitions.values()].filter(folder => folder.topic === topic)
      for (const { partition } of folders) {
        const slot = this.#table.slot(topic, partition)
        if (slot?.directory === directory) this.#table.remove(slot)
      }
      await this.#renameAll(directory, folders)
      topicsFile.topics.delete(topic)
    }
    if (deleted.length > 0) {
      await directory.saveCheckpoints()
      await directory.saveTopicsFile()
    }
    await this.#emptyTrash(directory)
  }

  removeFolder(path: string): Promise<void> {
    return translated('remove', path, () => removeTree(this.#fs, path))
  }

  async #renameAll(directory: DataDirectory, folders: readonly PartitionFolder[]): Promise<void> {
    const renames = folders.map(folder => ({ folder, to: deletedFolderName(folder.topic, folder.partition) }))
    for (const { to } of renames) directory.topicsFile.trash.add(to)
    await directory.saveTopicsFile()
    for (const { folder, to } of renames) {
      const path = directory.folderPath(folder.name)
      await translated('rename', path, () => this.#fs.rename(path, directory.folderPath(to)))
      directory.partitions.delete(folder.name)
      directory.topicsFile.unseen.delete(folder.name)
      for (const kind of CHECKPOINT_KINDS) directory.checkpoint(kind).set(folder.name, undefined)
    }
    await translated('sync', directory.path, () => this.#fs.syncDirectory(directory.path))
  }

  async #emptyTrash(directory: DataDirectory): Promise<void> {
    const { trash } = directory.topicsFile
    if (trash.size === 0) return
    for (const name of trash) await this.removeFolder(join(directory.path, name))
    await translated('sync', directory.path, () => this.#fs.syncDirectory(directory.path))
    // Durable with the next writing: to look for what is gone costs nothing.
    trash.clear()
  }
}
