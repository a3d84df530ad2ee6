/*
 * Makes ready what the engine needs before its first instruction: the dynamic loader of the C library, where
 * the kernel would have put it for a program that names one (PT_INTERP; elf(5), ld.so(8)).
 *
 * The executable names none to the kernel (scripts/executable.ts), as loading the C library and binding the
 * engine to it takes 0.8 ms, and the short commands need neither.
 *
 * From the build: LOADER_PATH, ENGINE_ENTRY and ENGINE_HEADERS (addresses, of the path too) and
 * ENGINE_HEADER_COUNT. Included after the numbers of READ, CLOSE, OPENAT and WRITE.
 */

#if defined(__x86_64__)
enum { MMAP = 9 };
#elif defined(__aarch64__)
enum { MMAP = 222 };
#endif

#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_PRIVATE 0x02
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
/* Of the auxiliary vector (getauxval(3)). */
#define AT_NULL 0
#define AT_PHDR 3
#define AT_PHNUM 5
#define AT_PAGESZ 6
#define AT_BASE 7
#define AT_ENTRY 9
#define PT_LOAD 1
#define PF_X 1
#define PF_W 2
#define PF_R 4
/* The header of the loader's file and its program headers; there are some ten. */
#define HEADERS_BYTES 2048
#define EXIT_NO_LOADER 127

struct elf_header {
  unsigned char identity[16];
  unsigned short type, machine;
  unsigned version;
  word entry, segments, sections;
  unsigned flags;
  unsigned short bytes, segment_bytes, segment_count;
};

struct elf_segment {
  unsigned type, flags;
  word offset, address, physical, file_bytes, memory_bytes, alignment;
};

/* The value of that kind in the auxiliary vector that `stack` ends with, to be read or changed. */
static word *auxiliary(word *stack, word kind) {
  word *at = stack + *stack + 2;
  while (*at) at++;
  for (at++; *at != AT_NULL && *at != kind; at += 2) continue;
  return at + 1;
}

static long map(word address, word length, long protection, long flags, long file, word offset) {
  return call(MMAP, (long)address, (long)length, protection, flags, file, (long)offset);
}

/* Maps one segment of a file, zeroed beyond what the file has of it; 0 when the kernel refuses. */
static int map_segment(const struct elf_segment *segment, word base, long file, word page) {
  word within = segment->address & (page - 1);
  word start = base + segment->address - within;
  word file_end = base + segment->address + segment->file_bytes;
  word end = base + segment->address + segment->memory_bytes;
  word mapped = (file_end + page - 1) & -page;
  long protection = (segment->flags & PF_R ? PROT_READ : 0) | (segment->flags & PF_W ? PROT_WRITE : 0) |
                    (segment->flags & PF_X ? PROT_EXEC : 0);
  long result = map(start, file_end - start, protection, MAP_PRIVATE | MAP_FIXED, file, segment->offset - within);
  if (IS_ERROR(result)) return 0;
  if (end == file_end) return 1;
  memset((void *)file_end, 0, mapped - file_end);
  if (end <= mapped) return 1;
  return !IS_ERROR(map(mapped, end - mapped, protection, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0));
}

/* Maps the loader, and says in `base` where; its first instruction, or 0. */
static word map_loader(word page, word *base) {
  word headers[HEADERS_BYTES / sizeof(word)];
  const struct elf_header *header = (void *)headers;
  long file = call(OPENAT, AT_FDCWD, LOADER_PATH, O_RDONLY | O_CLOEXEC, 0, 0, 0);
  if (IS_ERROR(file)) return 0;
  long length = call(READ, file, (long)headers, sizeof(headers), 0, 0, 0);
  if (length < (long)sizeof(*header) || header->segments & (sizeof(word) - 1) ||
      header->segment_bytes != sizeof(struct elf_segment) ||
      header->segments + header->segment_count * sizeof(struct elf_segment) > (word)length)
    return 0;
  const struct elf_segment *segments = (void *)((char *)headers + header->segments);
  const struct elf_segment *after = segments + header->segment_count;
  word end = 0;
  for (const struct elf_segment *each = segments; each < after; each++)
    if (each->type == PT_LOAD && each->address + each->memory_bytes > end) end = each->address + each->memory_bytes;
  /* Room for all of it, so that the segments keep their distances. */
  long room = map(0, end, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (IS_ERROR(room)) return 0;
  *base = room;
  for (const struct elf_segment *each = segments; each < after; each++)
    if (each->type == PT_LOAD && !map_segment(each, *base, file, page)) return 0;
  call(CLOSE, file, 0, 0, 0, 0, 0);
  return *base + header->entry;
}

/*
 * Where to go on for the engine: in the loader, which finds `stack` as the kernel would have left it, or at once
 * where there has been one (`ld.so PROGRAM`).
 */
static word way_to_engine(word *stack, int has_loader) {
  static const char message[] = "containerd-shim-wedge-v2: cannot load the dynamic loader of the C library: it needs glibc, at ";
  word base = 0, entry;
  if (has_loader) return ENGINE_ENTRY;
  entry = map_loader(*auxiliary(stack, AT_PAGESZ), &base);
  if (!entry) {
    call(WRITE, 2, (long)message, sizeof(message) - 1, 0, 0, 0);
    call(WRITE, 2, LOADER_PATH, length_of((const char *)LOADER_PATH), 0, 0, 0);
    call(WRITE, 2, (long)"\n", 1, 0, 0, 0);
    leave(EXIT_NO_LOADER);
  }
  *auxiliary(stack, AT_BASE) = base;
  *auxiliary(stack, AT_ENTRY) = ENGINE_ENTRY;
  *auxiliary(stack, AT_PHDR) = ENGINE_HEADERS;
  *auxiliary(stack, AT_PHNUM) = ENGINE_HEADER_COUNT;
  return entry;
}
