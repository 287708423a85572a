// Keeps two processes from reaching into a patient's folder at once: one that lays objects there,
// and the one that sets the folder apart for intake.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_HANDING_OVER_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_HANDING_OVER_H_

namespace consilium::agent {

// Locks of the process (fcntl) on an open file that forked processes share: whoever dies lets go.
// Between threads of one process they do nothing.
class HandingOver {
 public:
  // While it lives, nobody sets anything apart; objects may come from many.
  class Pause {
   public:
    explicit Pause(int file);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    int file_;
  };

  // While it lives, no object comes.
  explicit HandingOver(int file);
  ~HandingOver();
  HandingOver(const HandingOver&) = delete;
  HandingOver& operator=(const HandingOver&) = delete;

 private:
  int file_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_HANDING_OVER_H_
