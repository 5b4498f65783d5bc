import { dpkg } from './dpkg.js'

dpkg('kernel')
