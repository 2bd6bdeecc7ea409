// Paired comparison of two entries from their per-image outcomes; the same tests as bench/core/statistics.py.
"use strict";

const regionbench = (() => {
  const Z = 1.959963984540054; // of a 95 % interval

  // Base64 of packed bits, first image in the highest bit → the outcomes of one seed.
  function unpack(text, n) {
    const bytes = atob(text);
    return Uint8Array.from({ length: n }, (_, at) => (bytes.charCodeAt(at >> 3) >> (7 - (at & 7))) & 1);
  }

  function wilson(p, n) {
    const centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n);
    const reach = Z / (1 + Z * Z / n) * Math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n));
    return [centre - reach, centre + reach];
  }

  // Newcombe's intervals: of paired accuracies with the correlation of their outcomes, of others with 0.
  function newcombe(p1, n1, p2, n2, correlation) {
    const [low1, high1] = wilson(p1, n1);
    const [low2, high2] = wilson(p2, n2);
    const reach = (a, b) => Math.sqrt(Math.max(a * a - 2 * correlation * a * b + b * b, 0));
    return [p1 - p2 - reach(p1 - low1, high2 - p2), p1 - p2 + reach(high1 - p1, p2 - low2)];
  }

  function pairedInterval(first, second) {
    const n = first.length;
    let both = 0, one = 0, other = 0;
    for (let at = 0; at < n; at++) {
      if (first[at] && second[at]) both++;
      else if (first[at]) one++;
      else if (second[at]) other++;
    }
    const neither = n - both - one - other;
    let numerator = both * neither - one * other;
    if (numerator > 0) numerator = Math.max(numerator - n / 2, 0);
    const [right, wrong] = [both + one, both + other];
    const margins = Math.sqrt(right) * Math.sqrt(n - right) * Math.sqrt(wrong) * Math.sqrt(n - wrong);
    return newcombe(right / n, n, wrong / n, n, margins ? numerator / margins : 0);
  }

  // Student's t at 97.5 %, from the normal quantile (Abramowitz and Stegun 26.7.5).
  function quantile(freedom) {
    const v = freedom, z = Z;
    return z + (z ** 3 + z) / (4 * v) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * v ** 2)
      + (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * v ** 3);
  }

  // Student's interval, extended where the values are skewed (Hall 1992); of equal values that of 0 in n.
  function meanInterval(values, mean) {
    const n = values.length;
    const moment = (power) => values.reduce((total, each) => total + (each - mean) ** power, 0);
    const spread = Math.sqrt(moment(2) / (n - 1));
    if (spread < 1e-12) {
      const reach = wilson(0, n)[1];
      return [mean - reach, mean + reach];
    }
    const error = spread / Math.sqrt(n);
    const t = quantile(n - 1);
    const skewness = n > 2 ? n / ((n - 1) * (n - 2)) * moment(3) / spread ** 3 / Math.sqrt(n) : 0;
    const inverse = (at) => {
      const above = at - skewness / 6;
      const root = Math.cbrt(1 + skewness * above);
      return 3 * above / (root * root + root + 1);
    };
    return [mean - error * Math.max(t, inverse(t)), mean + error * Math.max(t, -inverse(-t))];
  }

  const gcd = (a, b) => (b ? gcd(b, a % b) : a);

  // Two-sided p-value of the exact sign-flip test; of one seed each it is McNemar's.
  function signFlip(differences) {
    const unit = differences.reduce((a, b) => gcd(a, Math.abs(b)), 0) || 1;
    const counts = new Map();
    let sum = 0, furthest = 0;
    for (const each of differences) {
      const size = Math.abs(each) / unit;
      if (size) counts.set(size, (counts.get(size) ?? 0) + 1);
      sum += each / unit;
      furthest += size;
    }
    const reached = Math.abs(sum);
    if (reached === 0) return 1;
    // The sum of random signs has the characteristic function Π cos(size·θ); its inverse transform, summed over
    // |s| < reached, is exact because the sum is a whole number.
    const points = 2 * furthest + 1;
    let inside = 0;
    for (let at = 0; at < points; at++) {
      const angle = 2 * Math.PI * at / points;
      let value = 1;
      for (const [size, count] of counts) value *= Math.cos(size * angle) ** count;
      inside += value * (at ? Math.sin((reached - 0.5) * angle) / Math.sin(angle / 2) : 2 * reached - 1);
    }
    return Math.min(Math.max(1 - inside / points, 0), 1);
  }

  // The difference of two worst cases with its interval; where both have outcomes, the p-value and how many images
  // each survives that the other does not (of several seeds: in a larger share of them).
  function compare(a, b, n) {
    if (!a.outcomes || !b.outcomes) {
      const [p, q] = [a.values[0], b.values[0]];
      if (p === null || q === null) return null;
      const [low, high] = newcombe(p, n, q, n, 0);
      return { value: p - q, low, high, p: null };
    }
    const [first, second] = [a, b].map((row) => row.outcomes.map((text) => unpack(text, n)));
    const share = (seeds, at) => seeds.reduce((total, seed) => total + seed[at], 0);
    const differences = Array.from({ length: n }, (_, at) => share(first, at) * second.length - share(second, at) * first.length);
    const scale = first.length * second.length;
    const value = differences.reduce((total, each) => total + each, 0) / n / scale;
    const p = signFlip(differences);
    const alone = [1, -1].map((sign) => differences.filter((each) => sign * each > 0).length);
    if (scale === 1) {
      const [low, high] = pairedInterval(first[0], second[0]);
      return { value, low, high, p, alone };
    }
    const [low, high] = meanInterval(differences.map((each) => each / scale), value);
    return { value, low: Math.max(-1, low), high: Math.min(1, high), p, alone };
  }

  const minus = (text) => text.replace("-", "−");
  const percent = (value) => minus((100 * value).toFixed(1)).replace(/^−(0\.0)$/, "$1");
  const pText = (p) => (p === null ? "no outcomes per image, unpaired interval" : p < 0.001 ? "p\u00a0<\u00a00.001" : `p\u00a0=\u00a0${Number(p.toPrecision(2))}`);

  return { compare, percent, pText };
})();
