/*
 * Provides what the engine needs before its first instruction: the dynamic loader of the C library, where
 * the kernel would have put it for a program that names one (PT_INTERP; elf(5), ld.so(8)).
 *
 * The executable does not name one to the kernel (scripts/executable.ts), as loading the C library and
 * binding the engine to it takes 0.8 ms, and the short commands need neither.
 *
 * From the build: of the engine its LOADER_PATH, ENGINE_ENTRY (an address), ENGINE_HEADERS (its program headers)
 * and ENGINE_HEADER_COUNT; and HANDOFF_NAME, a variable. Included after kin.h and `parse`.
 */

#if defined(__x86_64__)
enum { MMAP = 9, MUNMAP = 11, NANOSLEEP = 35 };
#define MACHINE 62
#elif defined(__aarch64__)
enum { MMAP = 222, MUNMAP = 215, NANOSLEEP = 101 };
#define MACHINE 183
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
#define AT_EMPTY_PATH 0x1000
/* "\177ELF", of 64 bits, little-endian. */
#define ELF_IDENTITY 0x00010102464c457fUL
#define ELF_IDENTITY_MASK 0x00ffffffffffffffUL
#define SHARED_OBJECT 3
#define ENOEXEC 8
/* The header of the loader's file and its program headers; there are some ten. */
#define HEADERS_BYTES 2048
#define EXIT_NO_LOADER 127
/* Of an errno. */
#define ERROR_DIGITS 3
#define RETRY_NANOSECONDS 100000000

struct elf_header {
  word identity, padding;
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

/* As the engine names it; the loader must know it too, as it looks for its own name. */
static const char loader_path[] = LOADER_PATH;
/* What the kernel would have told the loader. */
static const struct elf_segment engine_headers[ENGINE_HEADER_COUNT];
static const struct elf_segment engine_headers[ENGINE_HEADER_COUNT] = {ENGINE_HEADERS};

/* The value of that kind in the auxiliary vector at the end of `stack`, to be read or changed. */
static word *auxiliary(word *stack, word kind) {
  word *at = stack + *stack + 2;
  while (*at) at++;
  for (at++; *at != AT_NULL && *at != kind; at += 2) continue;
  return at + 1;
}

static long map(word address, word length, long protection, long flags, long file, word offset) {
  return call(MMAP, (long)address, (long)length, protection, flags, file, (long)offset);
}

/* Maps one segment of a file, zeroed beyond what the file has of it; 0, or a negated errno. */
static long map_segment(const struct elf_segment *segment, word base, long file, word page) {
  word within = segment->address & (page - 1);
  word start = base + segment->address - within;
  word file_end = base + segment->address + segment->file_bytes;
  word end = base + segment->address + segment->memory_bytes;
  word mapped = (file_end + page - 1) & -page;
  long protection = (segment->flags & PF_R ? PROT_READ : 0) | (segment->flags & PF_W ? PROT_WRITE : 0) |
                    (segment->flags & PF_X ? PROT_EXEC : 0);
  long result = map(start, file_end - start, protection, MAP_PRIVATE | MAP_FIXED, file, segment->offset - within);
  if (IS_ERROR(result)) return result;
  if (end == file_end) return 0;
  memset((void *)file_end, 0, mapped - file_end);
  if (end <= mapped) return 0;
  result = map(mapped, end - mapped, protection, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  return IS_ERROR(result) ? result : 0;
}

/* Whether `length` bytes of `headers` are those of a loader for this processor, with all of it within its file. */
static int is_loader(const struct elf_header *header, long length, long file) {
  const struct elf_segment *segment = (void *)((char *)header + header->segments);
  struct facts_of_file facts;
  if (length < (long)sizeof(*header) || (header->identity & ELF_IDENTITY_MASK) != ELF_IDENTITY) return 0;
  if (header->type != SHARED_OBJECT || header->machine != MACHINE || header->segment_bytes != sizeof(*segment)) return 0;
  if (header->segments & (sizeof(word) - 1) || header->segments > HEADERS_BYTES) return 0;
  if (header->segments + header->segment_count * sizeof(*segment) > (word)length) return 0;
  if (call(STATX, file, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)&facts, 0) != 0) return 0;
  for (int at = 0; at < header->segment_count; at++, segment++)
    if (segment->type == PT_LOAD && (segment->offset > facts.size || segment->file_bytes > facts.size - segment->offset ||
                                     segment->file_bytes > segment->memory_bytes))
      return 0;
  return 1;
}

/* Maps the loader in `file`, and stores in `base` where; 0, or a negated errno. */
static long map_file(const struct elf_header *header, long file, word page, word *base) {
  const struct elf_segment *segments = (void *)((char *)header + header->segments);
  const struct elf_segment *after = segments + header->segment_count;
  word end = 0;
  for (const struct elf_segment *each = segments; each < after; each++)
    if (each->type == PT_LOAD && each->address + each->memory_bytes > end) end = each->address + each->memory_bytes;
  /* Room for all of it, so that the segments keep their distances. */
  long room = map(0, end, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (IS_ERROR(room)) return room;
  *base = room;
  for (const struct elf_segment *each = segments; each < after; each++) {
    long result = each->type == PT_LOAD ? map_segment(each, *base, file, page) : 0;
    if (result == 0) continue;
    call(MUNMAP, room, (long)end, 0, 0, 0, 0);
    return result;
  }
  return 0;
}

/* Maps the loader: returns its first instruction, and in `base` where it is; or a negated errno. */
static long map_loader(word page, word *base) {
  word headers[HEADERS_BYTES / sizeof(word)];
  const struct elf_header *header = (void *)headers;
  long file = call(OPENAT, AT_FDCWD, (long)loader_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, 0, 0);
  if (IS_ERROR(file)) return file;
  long result = call(READ, file, (long)headers, sizeof(headers), 0, 0, 0);
  if (!IS_ERROR(result)) result = is_loader(header, result, file) ? map_file(header, file, page, base) : -ENOEXEC;
  call(CLOSE, file, 0, 0, 0, 0, 0);
  return IS_ERROR(result) ? result : (long)(*base + header->entry);
}

/* Whether this is a shim that continues as this program (`handoff/arrival.ts`). */
static int is_handoff(char **argv, char **env) {
  struct command command;
  command.argv = argv;
  parse(&command);
  for (; *env && !command.action; env++)
    if (is_named(*env, HANDOFF_NAME) && (*env)[sizeof(HANDOFF_NAME)]) return 1;
  return 0;
}

static void complain(long error) {
  static const char message[] = "containerd-shim-wedge-v2: cannot load " LOADER_PATH ", the dynamic loader of glibc: error ";
  char line[sizeof(message) + ERROR_DIGITS];
  char *end = line + sizeof(message) - 1;
  memcpy(line, message, sizeof(message) - 1);
  for (long unit = error > 99 ? 100 : error > 9 ? 10 : 1; unit; unit /= 10) *end++ = '0' + error / unit % 10;
  *end++ = '\n';
  call(WRITE, 2, (long)line, end - line, 0, 0, 0);
}

/* Where to continue for the engine: in the loader, which finds `stack` as the kernel would have left it. */
static word way_to_engine(word *stack) {
  static const long pause[2] = {0, RETRY_NANOSECONDS};
  word base = 0;
  long entry = map_loader(*auxiliary(stack, AT_PAGESZ), &base);
  if (IS_ERROR(entry)) {
    complain(-entry);
    if (!is_handoff((char **)(stack + 1), (char **)(stack + *stack + 2))) leave(EXIT_NO_LOADER);
  }
  /* A shim that wakes up: nobody else has its containers, and the obstacle may pass. Signals wait too. */
  while (IS_ERROR(entry)) {
    call(NANOSLEEP, (long)pause, 0, 0, 0, 0, 0);
    entry = map_loader(*auxiliary(stack, AT_PAGESZ), &base);
  }
  *auxiliary(stack, AT_BASE) = base;
  *auxiliary(stack, AT_ENTRY) = ENGINE_ENTRY;
  *auxiliary(stack, AT_PHDR) = (word)engine_headers;
  *auxiliary(stack, AT_PHNUM) = ENGINE_HEADER_COUNT;
  return entry;
}
