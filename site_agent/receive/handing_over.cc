#include "site_agent/receive/handing_over.h"

#include <fcntl.h>

#include <cerrno>

namespace consilium::agent {
namespace {

void Lock(int file, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  while (::fcntl(file, F_SETLKW, &lock) != 0 && errno == EINTR) {
  }
}

}  // namespace

HandingOver::Pause::Pause(int file) : file_(file) { Lock(file, F_RDLCK); }
HandingOver::Pause::~Pause() { Lock(file_, F_UNLCK); }
HandingOver::HandingOver(int file) : file_(file) { Lock(file, F_WRLCK); }
HandingOver::~HandingOver() { Lock(file_, F_UNLCK); }

}  // namespace consilium::agent
