//! The figures that benchmarks leave: lines of `table,name,mappings,column,value`.

/// What the lines of a file begin with.
const HEAD: &str = "table,name,mappings,column,value";

#[derive(Clone, Debug, PartialEq)]
struct Figure {
    table: String,
    name: String,
    mappings: usize,
    column: String,
    value: f64,
}

/// Figures in the order in which they were written.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

/// What `of` has, once each, in the order of its first place.
fn distinct<T: PartialEq>(of: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for one in of {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

impl Figures {
    /// Adds those of a file.
    pub fn read(&mut self, csv: &str) {
        let mut lines = csv.lines();
        assert_eq!(lines.next(), Some(HEAD), "the first line");
        self.0.extend(lines.map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [table, name, mappings, column, value] = fields[..] else {
                panic!("not a figure: {line:?}")
            };
            let number = || format!("not a number: {line:?}");
            Figure {
                table: table.to_owned(),
                name: name.to_owned(),
                mappings: mappings.parse().unwrap_or_else(|_| panic!("{}", number())),
                column: column.to_owned(),
                value: value.parse().unwrap_or_else(|_| panic!("{}", number())),
            }
        }));
    }

    /// A few figures of every kind.
    pub fn sample() -> Self {
        let mut sample = Self::default();
        let mut lines = vec![HEAD.to_owned()];
        for mappings in [16, 4096, 1_000_000] {
            for who in ["RangeMap", "AddrSpace", "rangemap", "nodit", "with index"] {
                for table in ["ns", "bytes", "ns alone"] {
                    lines.push(format!("{table},find,{mappings},{who},{}", mappings / 8));
                }
            }
            lines.push(format!("ns ratio,find,{mappings},RangeMap/rangemap,0.25"));
        }
        lines.push("longest,RangeMap find,4096,ns,1000".to_owned());
        for (column, value) in [("AddrSpace", 90.0), ("rangemap", 80.0), ("ratio", 1.1)] {
            lines.push(format!("trace,ls,44,{column},{value}"));
        }
        let csv = lines.join("\n");
        sample.read(&csv);
        sample
    }

    fn of(&self, table: &str) -> Vec<&Figure> {
        self.0.iter().filter(|figure| figure.table == table).collect()
    }

    /// The names of a table.
    pub fn names(&self, table: &str) -> Vec<&str> {
        distinct(self.of(table).into_iter().map(|figure| &*figure.name))
    }

    pub fn columns(&self, table: &str) -> Vec<&str> {
        distinct(self.of(table).into_iter().map(|figure| &*figure.column))
    }

    pub fn sizes(&self, table: &str, name: &str) -> Vec<usize> {
        let figures = self.of(table).into_iter().filter(|figure| figure.name == name);
        distinct(figures.map(|figure| figure.mappings))
    }

    pub fn get(&self, table: &str, name: &str, mappings: usize, column: &str) -> Option<f64> {
        let this = |figure: &&Figure| {
            (&*figure.name, figure.mappings, &*figure.column) == (name, mappings, column)
        };
        self.of(table).into_iter().find(this).map(|figure| figure.value)
    }
}
