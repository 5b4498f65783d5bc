/** The same programs over the binding fuse-native. */
import { describe } from 'vitest'
import { dpkg } from './dpkg.js'
import { programs } from './programs.js'

describe('fuse-native', () => {
  programs('fuse-native')
  dpkg('fuse-native')
})
