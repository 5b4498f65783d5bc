/** What a program with a launcher (bin/layerfs) does before all else: the engine loads on the session's thread while the rest loads. */
import { prepareThread } from '../fuse/thread.js'

prepareThread()
