// What the charts draw: rows over time, kept here so that only what is new has to be asked for.

const EVENTS_MAX = 500;

export class History {
  // The broker has rows of every second for a short time and rows of every minute for a long one. Which it answers with
  // depends on how far back it is asked: at least `leastS` and at most `mostS` seconds.
  constructor(leastS, mostS) {
    this.leastS = leastS;
    this.mostS = mostS;
    this.clear();
  }

  clear() {
    this.intervalS = 1; // between two rows
    this.askedAt = 0; // when the rows that are here came, by the clock of the browser
    this.columns = new Map(); // name to values, oldest first; "at" is the time
    this.events = [];
  }

  get at() {
    return this.columns.get("at") ?? [];
  }

  // Take in an answer of the API, which may repeat what is here.
  merge(answer) {
    const atColumn = answer.columns.indexOf("at");
    const before = this.at.length ? this.at[this.at.length - 1] : -Infinity;
    if (answer.rows.length && answer.rows[answer.rows.length - 1][atColumn] < before) this.clear(); // a clock set back
    this.intervalS = answer.interval_s;
    this.askedAt = Date.now();
    const times = this.at;
    const newest = times.length ? before : -Infinity;
    const fresh = answer.rows.filter((row) => row[atColumn] > newest);
    for (const [index, name] of answer.columns.entries()) {
      // A column that is new to us, after an update of the broker, has nothing to say about the past.
      const values = this.columns.get(name) ?? new Array(times.length).fill(NaN);
      this.columns.set(name, values);
      for (const row of fresh) values.push(row[index]);
    }
    const rowsMax = this.mostS / this.intervalS;
    for (const values of this.columns.values()) values.splice(0, Math.max(0, values.length - rowsMax));
    const known = new Set(this.events.map(signature));
    this.events.push(...answer.events.filter((event) => !known.has(signature(event))));
    this.events.sort((one, other) => one.at - other.at);
    this.events.splice(0, Math.max(0, this.events.length - EVENTS_MAX));
  }

  // How many seconds to ask for now, so that nothing is missing.
  seconds() {
    if (this.at.length === 0) return this.mostS;
    const missing = Math.ceil((Date.now() - this.askedAt) / 1000) + 2 * this.intervalS;
    return Math.min(this.mostS, Math.max(this.leastS, missing));
  }

  // This history, and behind its end the rows of another one that is more up to date.
  followedBy(other) {
    const joined = new History(this.leastS, this.mostS);
    const end = this.at[this.at.length - 1] + this.intervalS;
    const more = other.at.findIndex((time) => time >= end);
    for (const [name, values] of this.columns) {
      const rest = more < 0 ? [] : other.at.slice(more).map((_, index) => other.value(name, more + index));
      joined.columns.set(name, [...values, ...rest]);
    }
    joined.intervalS = this.intervalS;
    joined.events = this.events;
    return joined;
  }

  value(name, index) {
    return this.columns.get(name)?.[index] ?? NaN;
  }

  // The index of the row that covers a time: the last one that does not begin later; -1: there is none.
  covering(time) {
    const times = this.at;
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  // The index of the row that begins nearest to a time; -1: there is none.
  nearest(time) {
    const times = this.at;
    const before = this.covering(time);
    const after = Math.min(before + 1, times.length - 1);
    return before >= 0 && time - times[before] < times[after] - time ? before : after;
  }
}

const signature = (event) => `${event.at} ${event.kind} ${event.text}`;
