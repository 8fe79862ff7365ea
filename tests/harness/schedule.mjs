// In which order pieces of work begin, and which of them at once.

/**
 * Runs `pieces`, each a `{ name, cores, needs }`, and resolves to a map of name to verdict. One begins
 * when all that it `needs` has ended well and its `cores`, a share of the machine, are free: those that
 * stand first, first. A piece that takes more than there is runs by itself. `run(piece)` resolves to `ok`
 * or to what it is instead; what needs a piece that is not ok is `not run`. After `stopped()` nothing more
 * begins.
 */
export function schedule(pieces, cores, run, stopped = () => false) {
  const verdicts = new Map();
  const running = new Set();
  const names = new Set(pieces.map(({ name }) => name));
  const needs = (piece) => (piece.needs ?? []).filter((name) => names.has(name));
  const fits = (piece) => {
    const busy = [...running].reduce((sum, one) => sum + one.cores, 0);
    return running.size === 0 || busy + piece.cores <= cores;
  };

  return new Promise((resolve) => {
    const begin = (piece) => {
      running.add(piece);
      void run(piece).then((verdict) => {
        running.delete(piece);
        verdicts.set(piece.name, verdict);
        look();
      });
    };
    const look = () => {
      for (const piece of pieces) {
        if (stopped()) break;
        if (verdicts.has(piece.name) || running.has(piece)) continue;
        if (needs(piece).some((name) => verdicts.has(name) && verdicts.get(name) !== 'ok')) verdicts.set(piece.name, 'not run');
        else if (needs(piece).every((name) => verdicts.has(name)) && fits(piece)) begin(piece);
      }
      // Of what is not run others may have been waiting for, before it in the list.
      const waiting = pieces.filter((piece) => !verdicts.has(piece.name) && !running.has(piece));
      if (running.size > 0) return;
      if (waiting.length === 0 || stopped()) resolve(verdicts);
      else look();
    };
    look();
  });
}
