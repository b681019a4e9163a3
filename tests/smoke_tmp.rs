use addrspace::RangeMap;
struct Rng(u64);
impl Rng {
    fn n(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545F4914F6CDD1D) >> 11
    }
    fn b(&mut self, m: u64) -> u64 {
        self.n() % m
    }
}
fn run<V: Clone + PartialEq + std::fmt::Debug, const S: usize, const L: usize, const I: usize>(
    seed: u64,
    size: u64,
    ops: usize,
    maxlen: u64,
    mk: impl Fn(u64) -> V,
    base: u64,
) {
    let mut r = Rng(seed * 2 + 1);
    let mut m: Vec<Option<V>> = vec![None; size as usize];
    let mut t = RangeMap::<u64, V, S, L, I>::default();
    for op in 0..ops {
        let s = r.b(size);
        let big = r.b(40) == 0;
        let e = (s + r.b(if big { size } else { maxlen })).min(size);
        let v = mk(r.b(3));
        let phase = (op / 300) % 3;
        let rg = base + s..base + e;
        match r.b(12) {
            0..=4 if phase != 1 || r.b(3) == 0 => {
                if r.b(2) == 0 {
                    t.insert(rg, v.clone());
                } else {
                    let mut d = t.insert(rg, v.clone());
                    let k = r.b(3);
                    for _ in 0..k {
                        if r.b(2) == 0 {
                            d.next();
                        } else {
                            d.next_back();
                        }
                    }
                }
                m[s as usize..e as usize].fill(Some(v));
            }
            5..=7 => {
                if r.b(2) == 0 {
                    t.remove(rg);
                } else {
                    for (x, v) in t.remove(rg) {
                        for p in x {
                            assert_eq!(m[(p - base) as usize].as_ref(), Some(&v));
                        }
                    }
                }
                m[s as usize..e as usize].fill(None);
            }
            8 => {
                t.update(rg, |_, x| *x = v.clone());
                for x in &mut m[s as usize..e as usize] {
                    if x.is_some() {
                        *x = Some(v.clone());
                    }
                }
            }
            9 if phase == 1 && r.b(20) == 0 => {
                t.retain(|_, x| *x != v);
                for x in &mut m {
                    if x.as_ref() == Some(&v) {
                        *x = None;
                    }
                }
            }
            10 => {
                let al = 1 + r.b(5);
                let len = 1 + r.b(maxlen);
                let free = |a: u64| {
                    a.checked_add(len).is_some_and(|z| {
                        (a..z).all(|p| p < base + e && m[(p - base) as usize].is_none())
                    })
                };
                let all: Vec<u64> =
                    (base + s..base + e.max(s)).filter(|a| a % al == 0 && free(*a)).collect();
                assert_eq!(t.first_gap(len, al, rg.clone()), all.first().copied());
                assert_eq!(t.last_gap(len, al, rg.clone()), all.last().copied());
                assert_eq!(t.placements(len, al, rg.clone()), all.len() as u64);
                let n = r.b(all.len() as u64 + 1);
                assert_eq!(t.nth_placement(n, len, al, rg), all.get(n as usize).copied());
            }
            _ => {
                let u = t.clone();
                assert_eq!(u, t);
                u.check();
            }
        }
        t.check();
        if op % 16 == 0 {
            for p in 0..size {
                assert_eq!(t.get(base + p), m[p as usize].as_ref(), "op {op} p {p}");
            }
            let back: Vec<_> = t.iter().rev().collect();
            let mut f: Vec<_> = t.iter().collect();
            f.reverse();
            assert_eq!(back, f);
            let u: RangeMap<u64, V, S, L, I> = t.clone().into_iter().collect();
            u.check();
            assert_eq!(u, t);
        }
    }
}
#[test]
fn smoke() {
    for seed in 0..6 {
        for base in [0, u64::MAX - 700] {
            run::<u32, 3, 3, 3>(seed, 300, 3000, 12, |x| x as u32, base);
            run::<u32, 7, 7, 7>(seed + 100, 300, 3000, 6, |x| x as u32, base);
            run::<u32, 7, 3, 3>(seed, 300, 3000, 6, |x| x as u32, base);
            run::<u32, 31, 15, 31>(seed, 700, 3000, 4, |x| x as u32, base);
            run::<String, 3, 3, 3>(seed, 300, 2000, 12, |x| x.to_string(), base);
            run::<String, 31, 15, 31>(seed, 700, 2000, 4, |x| x.to_string(), base);
        }
    }
    run::<u32, 3, 3, 3>(7, 6000, 8000, 3, |x| x as u32, 0);
    run::<u32, 31, 15, 31>(7, 20000, 6000, 3, |x| x as u32, 0);
}
