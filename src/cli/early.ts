/** The engine loads on the session's thread while the rest loads here: imported before all else. */
import { prepareThread } from '../fuse/thread.js'

prepareThread()
