/*
 * The least that an export by hard links can do: reads a list from standard input and calls nothing but mkdirat, openat
 * and linkat for it. The list is NUL-ended strings: "D" and a directory's path, "F" and a file's name in it, "L" and the
 * path of the layer that provides the files that follow.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(int r, const char *what) {
  if (r >= 0) return;
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  must(mkdir(argv[1], 0755), argv[1]);
  int top = open(argv[1], O_PATH | O_DIRECTORY);
  must(top, argv[1]);
  char *line = NULL, *dir = strdup("."), *layer = strdup("");
  size_t room = 0;
  int from = -1, to = -1;
  while (getdelim(&line, &room, 0, stdin) > 0) {
    const char *name = line + 1;
    if (line[0] == 'F') {
      must(linkat(from, name, to, name, 0), name);
      continue;
    }
    char **kept = line[0] == 'D' ? &dir : &layer;
    free(*kept);
    *kept = strdup(name);
    if (line[0] == 'D') {
      if (strcmp(dir, ".") != 0) must(mkdirat(top, dir, 0755), dir);
      if (to >= 0) close(to);
      must(to = openat(top, dir, O_PATH | O_DIRECTORY), dir);
      continue;
    }
    if (from >= 0) close(from);
    int root = open(layer, O_PATH | O_DIRECTORY);
    must(root, layer);
    must(from = openat(root, dir, O_PATH | O_DIRECTORY), dir);
    close(root);
  }
  return 0;
}
