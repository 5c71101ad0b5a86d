/** All texts of the page, in English and Turkish. A text is a string, or a function of values where it has any. */

const TURKISH_NAMES = await (await fetch(new URL("./turkish_names.json", import.meta.url))).json();

const several = (count, one, many) => `${decimal(count, 0)} ${count === 1 ? one : many}`;
// names that are plural or no single thing
const NO_ARTICLE = new Set([
  "animal migration", "asparagus", "binoculars", "bread", "broccoli", "camouflage", "drums", "eyeglasses", "flip flops",
  "grapes", "grass", "headphones", "ice cream", "lightning", "matches", "pants", "peas", "pliers", "rain",
  "rollerskates", "scissors", "shorts", "stairs", "stitches", "toothpaste", "underwear", "yoga",
]);

function article(name) {
  if (NO_ARTICLE.has(name)) return name;
  if (name.startsWith("The ")) return `the ${name.slice(4)}`;
  return /^([aeiou]|hourglass)/i.test(name) ? `an ${name}` : `a ${name}`;
}

/** Return how many there are of each thing of a scene, and of which size. */
function counted(things, sizes) {
  const all = things.map(({ category, size }) => nameOf(category) + (size > 1 ? ` (${sizes.large})` : size < 1 ? ` (${sizes.small})` : ""));
  return [...new Set(all)].map((name) => `${all.filter((other) => other === name).length} × ${name}`).join(", ");
}

const named = (things, numbers) => numbers.map((i) => nameOf(things[i].category)).join(", ");
const said = (told) => told.map(([key, values]) => `${say(key, values)}.`);
const TURKISH_RELATIONS = {
  on: "üstünde", under: "altında", in: "içinde", above: "yukarısında", below: "aşağısında", "left of": "solunda",
  "right of": "sağında", "next to": "yanında", behind: "arkasında", "in front of": "önünde", between: "arasında",
};

const ENGLISH = {
  title: "Draw with me",
  lead: ({ name }) => `Begin ${article(name)}. The model finishes it, stroke by stroke.`,
  language: "Türkçe",
  otherLanguage: "Türkçe: show this page in Turkish",
  otherTheme: "Switch between light and dark",
  category: "What to draw",
  find: ({ count }) => `${decimal(count, 0)} things, or “a cat on a table”`,
  findLabel: "Search all categories, or write what a scene has, in English, Turkish or Russian",
  findNone: "Nothing of this name.",
  findScene: ({ things }) => `Draw a scene: ${counted(things, { large: "large", small: "small" })}`,
  relation: ({ things, subjects, kind, landmarks }) => `${named(things, subjects)} ${kind} ${named(things, landmarks)}`,
  toldUnknown: ({ text, close, foreign }) => `“${text}” cannot be drawn and is left out` +
    (close ? `; did you mean “${close}”?` : foreign ? `; it is a thing in ${{ en: "English", tr: "Turkish", ru: "Russian" }[foreign]}, say all in one language` : ""),
  toldCount: ({ text, count }) => `“${text}” is understood as ${count}`,
  toldNumber: ({ number }) => `the number ${number} stands before nothing that can be drawn`,
  toldMeaning: ({ text, category, note }) => `“${text}” is understood as ${category} (${note})`,
  toldNegation: ({ text }) => `“${text}” is not drawn: what is not there cannot be shown`,
  toldWithout: ({ text }) => `“${text}” (without) is not understood: things are drawn whole`,
  toldAlone: ({ text }) => `“${text}” stands behind nothing that can be drawn`,
  toldSign: ({ text }) => `“${text}” is no word and is left out`,
  promptNothing: ({ told }) => ["Nothing of this name.", ...said(told)].join(" "),
  promptMany: ({ count, most }) => `${decimal(count, 0)} things are asked for, a scene has room for ${most}.`,
  promptLong: ({ words, letters }) => `Too long: at most ${words} words and ${decimal(letters, 0)} letters are read.`,
  sceneFinished: ({ count, told }) => [`The scene is finished, with ${several(count, "thing", "things")}.`, ...said(told)].join(" "),
  guess: ({ name }) => `Looks like ${article(name)}: go on so`,
  paperArea: "Drawing",
  paper: "Drawing paper",
  paperHelp:
    "Draw with mouse, pen or finger. With the keyboard: the arrow keys move a pen, with Shift by small steps; " +
    "D or Space puts it down and lifts it again; Enter lets the model finish the drawing; Escape stops the model. " +
    "While a next stroke is proposed, Tab takes it and N shows another; Escape puts it away, and Tab moves on again.",
  hint: ({ name }) => `Begin ${article(name)} here, anywhere and of any size.\nAfter each stroke the next one appears: take it, or draw on.`,
  ghost: "The proposed stroke",
  ghostShown: "A next stroke is proposed. Tab takes it, N shows another.",
  ghostTaken: ({ count }) => `Taken. ${several(count, "stroke", "strokes")} on the paper.`,
  unlike: ({ name }) => `Unlike ${article(name)} here.`,
  take: "Take",
  other: "Other",
  change: "Change",
  changeLabel: "Change a stroke",
  choosing: "Tap the stroke to change, or choose it with the arrow keys.",
  again: "Another",
  tidy: "Tidy",
  byHand: "By hand",
  erase: "Erase",
  rest: "From here",
  redrawn: "Drawn anew. Undo brings the old stroke back.",
  tidied: "Tidied. Undo brings your stroke back.",
  erased: ({ count }) => `Erased. ${several(count, "stroke", "strokes")} on the paper.`,
  drawByHand: "Draw the stroke again; the new one takes its place.",
  actions: "Drawing tools",
  finish: "Finish it",
  stop: "Stop",
  one: "One stroke",
  another: "Four endings",
  undo: "Undo (Ctrl+Z)",
  redo: "Redo (Ctrl+Shift+Z)",
  clear: "Clear the paper",
  endings: "Four endings to choose from",
  ending: ({ number }) => `Ending ${number}`,
  endingReady: ({ number, count }) => `Ending ${number}, ${several(count, "stroke", "strokes")}: put it on the paper`,
  endingsClose: "Back to my drawing",
  sureTitle: "How sure the recogniser is",
  sureEmpty: "A second network, which knows 345 things, says after every stroke what it sees.",
  sureUnread: "The recogniser is looking…",
  sureCaption: ({ name }) => `sure that this is ${article(name)}`,
  notSure: "Not yet",
  sureChart: ({ name, percent, count }) =>
    `Probability of “${name}” after each stroke. After stroke ${count}: ${percent}.`,
  stroke: ({ number, percent }) => `Stroke ${number}: ${percent}`,
  settings: "Settings",
  temperature: "Temperature",
  temperatureHelp: "Low draws the typical, high the daring.",
  steps: "Denoising steps",
  stepsHelp: "More steps take longer and draw a little finer.",
  stepsTuned: "the model's own",
  seed: "Seed",
  seedHelp: "The same seed draws the same strokes again.",
  roll: "Roll another",
  watch: "Watch strokes emerge from noise",
  auto: "Go on by itself when I lift the pen",
  ghosts: "Propose the next stroke",
  execution: "Computed by your processor: WebAssembly with SIMD, one thread, no graphics card.",
  morph: "From one thing to another",
  morphHelp: "The model draws one thing, another, and eleven drawings on the way from one to the other. In the middle is a mix of both.",
  morphFrom: "From this",
  morphTo: "To this",
  morphDraw: "Draw what lies between",
  morphPaper: "The drawing at this place of the way",
  morphSlider: "Place on the way",
  morphPlace: ({ first, second, share }) => `${share} of the way from ${first} to ${second}`,
  morphLoading: ({ percent }) => `Fetching the model of all categories: ${percent}`,
  morphEnd: ({ name }) => `The model is drawing ${article(name)}…`,
  morphDrawing: ({ count, stroke }) => `${count} drawings at once, stroke ${stroke + 1}…`,
  morphDone: "Done. Move the slider.",
  morphTake: "Onto the paper",
  morphTaken: ({ count }) => `On the paper, with ${several(count, "stroke", "strokes")}.`,
  mix: "Mix",
  files: "Save and open",
  saveSvg: "Save as SVG in millimetres, for plotters too",
  savePng: "Save as PNG",
  saveGif: "Save as animated GIF",
  saveNdjson: "Save as ndjson, the form of Quick, Draw!",
  saveVideo: "Save as a video, in which it is drawn",
  video: "Video",
  saveExcalidraw: "Save for Excalidraw",
  saveTldraw: "Save for tldraw",
  link: "Link",
  linkLabel: "Copy a link that holds the drawing",
  open: "Open a drawing",
  openHelp: "SVG, Excalidraw, tldraw or ndjson. Or drop it, or paste it.",
  howTitle: "How it works",
  how:
    "The model draws as people do, one pen stroke after another. Every stroke begins as random noise; a small network " +
    "takes the noise away in a few steps, guided by the strokes that are already on the paper. After each stroke the " +
    "model decides whether the drawing is finished. The seed fixes the noise, and so the whole drawing. " +
    "Another network, trained to name sketches, only watches and says how sure it is of what it sees.",
  private: "Everything runs in your browser; nothing is sent anywhere.",
  source: "Models trained on Quick, Draw! (Google, CC BY 4.0)",

  starting: "Starting…",
  loading: ({ name, loaded, total, percent }) => `Fetching the ${name} model: ${loaded} of ${total} MB (${percent})`,
  preparing: ({ name }) => `Preparing the ${name} model…`,
  ready: "Ready. Draw a stroke.",
  proposed: "Take it, or draw on.",
  readyWithDrawing: "Ready.",
  drawing: "The model is drawing…",
  oneMore: "The model is drawing one stroke…",
  drawingEndings: "The model is drawing four endings…",
  finished: ({ count }) => `The model has finished, with ${several(count, "stroke", "strokes")}.`,
  nothing: "The model takes this for finished: nothing to add.",
  longest: ({ most }) => `The model has stopped: a drawing has at most ${most} strokes.`,
  full: ({ most }) => `A drawing has at most ${most} strokes: nothing to add.`,
  added: "The model has added a stroke.",
  stopped: "Stopped.",
  chooseEnding: "Four endings. Choose one.",
  endingUnfinished: ({ number }) => `Ending ${number} is still being drawn.`,
  adopted: ({ number }) => `Ending ${number} is on the paper.`,
  penDown: "Pen down.",
  penUp: ({ count }) => `Pen up. ${several(count, "stroke", "strokes")} on the paper.`,
  undone: ({ count }) => `Undone. ${several(count, "stroke", "strokes")} on the paper.`,
  redone: ({ count }) => `Redone. ${several(count, "stroke", "strokes")} on the paper.`,
  cleared: "The paper is empty. Undo brings the drawing back.",
  saving: ({ file }) => `Making ${file}…`,
  recording: ({ file }) => `Recording ${file}, as long as it takes to draw…`,
  saved: ({ file }) => `Saved as ${file}.`,
  nothingToSave: "There is nothing on the paper to save.",
  pasted: "What was pasted",
  openedLink: ({ count }) => `The drawing of the link: ${several(count, "stroke", "strokes")}.`,
  linkCopied: ({ count }) => `Copied: a link of ${several(count, "character", "characters")} that holds the drawing.`,
  linkShown: "The page's address now holds the drawing: copy it.",
  opened: ({ file, count }) => `${file} opened: ${several(count, "stroke", "strokes")}.`,
  openedCut: ({ file, count, strokes, points }) =>
    `${file} opened and cut to ${several(count, "stroke", "strokes")}: ` +
    `at most ${strokes} strokes and ${points} points are read.`,
  openedFitted: ({ file, count }) =>
    `${file} opened: ${several(count, "stroke", "strokes")}, fitted into the square.`,
  noSimd: "This browser is too old for the model (it lacks WebAssembly SIMD, which browsers have since 2023). You can still draw and save.",
  restored: "Ready. This is your last drawing; clear the paper to begin anew.",
  failed: ({ message }) => `That did not work: ${message}`,
  loadFailed: ({ name, message }) => `The ${name} model could not be loaded: ${message}`,

  fileUnreadable: ({ file }) => `${file} cannot be read.`,
  fileEmpty: ({ file }) => `${file} is empty.`,
  fileLong: ({ file }) => `The first line of ${file} is too long for a drawing.`,
  fileNotJson: ({ file }) => `${file} is no drawing: neither SVG, nor is its first line JSON.`,
  fileNotSvg: ({ file }) => `${file} is no SVG that can be read.`,
  fileNoDrawing: ({ file }) => `${file} has no list of strokes under “drawing”.`,
  fileStroke: ({ file, stroke }) => `${file}: stroke ${stroke} is not [[x …], [y …]] with equal lengths.`,
  fileNumber: ({ file, stroke }) => `${file}: stroke ${stroke} has a value that is not a number.`,
  fileNoPoints: ({ file }) => `The drawing in ${file} has no points.`,
};

const TURKISH = {
  title: "Birlikte çizelim",
  lead: ({ name }) => `Siz ${name} çizmeye başlayın, model çizgi çizgi tamamlasın.`,
  language: "English",
  otherLanguage: "English: sayfayı İngilizce göster",
  otherTheme: "Açık ve koyu görünüm arasında geçiş yap",
  category: "Ne çizilsin?",
  find: ({ count }) => `${decimal(count, 0)} şey, ya da “masada bir kedi”`,
  findLabel: "Bütün kategorilerde ara ya da bir sahnede ne olacağını yaz, Türkçe, İngilizce veya Rusça",
  findNone: "Bu adda bir şey yok.",
  findScene: ({ things }) => `Bir sahne çiz: ${counted(things, { large: "büyük", small: "küçük" })}`,
  relation: ({ things, subjects, kind, landmarks }) => `${named(things, landmarks)} ${TURKISH_RELATIONS[kind]}: ${named(things, subjects)}`,
  toldUnknown: ({ text, close, foreign }) => `“${text}” çizilemiyor, atlandı` +
    (close ? `; “${close}” mi demek istediniz?` : foreign ? `; ${{ en: "İngilizcede", tr: "Türkçede", ru: "Rusçada" }[foreign]} bir şeyin adı, hepsini tek dilde yazın` : ""),
  toldCount: ({ text, count }) => `“${text}” ${count} tane olarak anlaşıldı`,
  toldNumber: ({ number }) => `${number} sayısından sonra çizilebilecek bir şey yok`,
  toldMeaning: ({ text, category, turkish }) => `“${text}” şöyle anlaşıldı: ${nameOf(category)} (${turkish ?? `İngilizcesi ${category}`})`,
  toldNegation: ({ text }) => `“${text}” çizilmiyor: olmayan bir şey gösterilemez`,
  toldWithout: ({ text }) => `“${text}” (yokluk) anlaşılmıyor: şeyler bütün olarak çizilir`,
  toldAlone: ({ text }) => `“${text}” sözünden önce çizilebilecek bir şey yok`,
  toldSign: ({ text }) => `“${text}” bir söz değil, atlandı`,
  promptNothing: ({ told }) => ["Bu adda bir şey yok.", ...said(told)].join(" "),
  promptMany: ({ count, most }) => `${decimal(count, 0)} şey isteniyor, bir sahneye ${most} tane sığar.`,
  promptLong: ({ words, letters }) => `Fazla uzun: en çok ${words} sözcük ve ${decimal(letters, 0)} harf okunur.`,
  sceneFinished: ({ count, told }) => [`Sahne ${decimal(count, 0)} şeyle tamamlandı.`, ...said(told)].join(" "),
  guess: ({ name }) => `Buna benziyor: ${name}. Öyle sürdür`,
  paperArea: "Çizim",
  paper: "Çizim kâğıdı",
  paperHelp:
    "Fare, kalem veya parmakla çizin. Klavyeyle: ok tuşları kalemi yürütür, Shift ile birlikte küçük adımlarla; " +
    "D veya boşluk tuşu kalemi indirir ve kaldırır; Enter çizimi modele tamamlatır; Escape modeli durdurur. " +
    "Bir çizgi önerilirken Tab onu alır, N başkasını gösterir; Escape öneriyi kaldırır, Tab yine sonraki öğeye geçer.",
  hint: ({ name }) => `Buraya ${name} çizmeye başlayın; yeri de boyu da size kalmış.\nHer çizgiden sonra bir sonraki belirir: alın ya da kendiniz sürdürün.`,
  ghost: "Önerilen çizgi",
  ghostShown: "Bir sonraki çizgi önerildi. Tab onu alır, N başkasını gösterir.",
  ghostTaken: ({ count }) => `Alındı. Kâğıtta ${count} çizgi var.`,
  unlike: ({ name }) => `Burada ${name} çizimine benzemiyor.`,
  take: "Al",
  other: "Başka",
  change: "Değiştir",
  changeLabel: "Bir çizgiyi değiştir",
  choosing: "Değiştirilecek çizgiye dokunun ya da ok tuşlarıyla seçin.",
  again: "Başka",
  tidy: "Düzelt",
  byHand: "Elle",
  erase: "Sil",
  rest: "Buradan",
  redrawn: "Yeniden çizildi. “Geri al” eski çizgiyi getirir.",
  tidied: "Düzeltildi. “Geri al” sizin çizginizi getirir.",
  erased: ({ count }) => `Silindi. Kâğıtta ${count} çizgi var.`,
  drawByHand: "Çizgiyi yeniden çizin; yenisi onun yerini alır.",
  actions: "Çizim araçları",
  finish: "Tamamla",
  stop: "Durdur",
  one: "Tek çizgi",
  another: "Dört son",
  undo: "Geri al (Ctrl+Z)",
  redo: "Yinele (Ctrl+Shift+Z)",
  clear: "Kâğıdı temizle",
  endings: "Seçilebilecek dört son",
  ending: ({ number }) => `${number}. son`,
  endingReady: ({ number, count }) => `${number}. son, ${count} çizgi: kâğıda geçir`,
  endingsClose: "Çizimime dön",
  sureTitle: "Tanıyıcı ne kadar emin?",
  sureEmpty: "345 şeyi tanıyan ikinci bir ağ, her çizgiden sonra ne gördüğünü söyler.",
  sureUnread: "Tanıyıcı bakıyor…",
  sureCaption: ({ name }) => `olasılıkla bu: ${name}`,
  notSure: "Çok küçük",
  sureChart: ({ name, percent, count }) =>
    `Her çizgiden sonra “${name}” olasılığı. ${count}. çizgiden sonra: ${percent}.`,
  stroke: ({ number, percent }) => `${number}. çizgi: ${percent}`,
  settings: "Ayarlar",
  temperature: "Sıcaklık",
  temperatureHelp: "Düşükken alışıldık, yüksekken cüretkâr çizer.",
  steps: "Gürültü giderme adımı",
  stepsHelp: "Adım arttıkça çizim uzun sürer, biraz daha incelir.",
  stepsTuned: "modelin kendi ayarı",
  seed: "Tohum",
  seedHelp: "Aynı tohum aynı çizgileri yeniden çizer.",
  roll: "Yeni tohum",
  watch: "Çizgilerin gürültüden doğuşunu izle",
  auto: "Kalemi kaldırınca model kendiliğinden sürdürsün",
  ghosts: "Bir sonraki çizgiyi öner",
  execution: "İşlemcinizde hesaplanır: SIMD'li WebAssembly, tek iş parçacığı, ekran kartı yok.",
  morph: "Bir şeyden ötekine",
  morphHelp: "Model bir şeyi, başka bir şeyi ve birinden ötekine giden yolda on bir çizim daha çizer. Ortada ikisinin karışımı vardır.",
  morphFrom: "Bundan",
  morphTo: "Buna",
  morphDraw: "Aradakileri çiz",
  morphPaper: "Yolun bu yerindeki çizim",
  morphSlider: "Yoldaki yer",
  morphPlace: ({ first, second, share }) => `${first} ile ${second} arasındaki yolun ${share} kadarı`,
  morphLoading: ({ percent }) => `Bütün kategorilerin modeli getiriliyor: ${percent}`,
  morphEnd: ({ name }) => `Model çiziyor: ${name}…`,
  morphDrawing: ({ count, stroke }) => `${count} çizim birden, ${stroke + 1}. çizgi…`,
  morphDone: "Hazır. Sürgüyü oynatın.",
  morphTake: "Kâğıda geçir",
  morphTaken: ({ count }) => `Kâğıtta, ${count} çizgiyle.`,
  mix: "Karışım",
  files: "Kaydet ve aç",
  saveSvg: "Milimetre ölçülü SVG olarak kaydet; çizici (plotter) için de uygundur",
  savePng: "PNG olarak kaydet",
  saveGif: "Hareketli GIF olarak kaydet",
  saveNdjson: "Quick, Draw! biçiminde, ndjson olarak kaydet",
  saveVideo: "Çizilişini gösteren bir video olarak kaydet",
  video: "Video",
  saveExcalidraw: "Excalidraw için kaydet",
  saveTldraw: "tldraw için kaydet",
  link: "Bağlantı",
  linkLabel: "Çizimi içinde taşıyan bir bağlantı kopyala",
  open: "Bir çizim aç",
  openHelp: "SVG, Excalidraw, tldraw ya da ndjson. Sayfaya bırakabilir ya da yapıştırabilirsiniz.",
  howTitle: "Nasıl çalışır?",
  how:
    "Model de insanlar gibi, kalemi her indirişte bir çizgi çeker. Her çizgi rastgele gürültü olarak başlar; küçük bir " +
    "ağ, kâğıtta duran çizgilere bakarak bu gürültüyü birkaç adımda giderir. Her çizgiden sonra model, çizimin bitip " +
    "bitmediğine karar verir. Gürültüyü, dolayısıyla bütün çizimi, tohum belirler. Çizimleri adlandırmak için " +
    "eğitilmiş başka bir ağ ise yalnızca izler ve gördüğünden ne kadar emin olduğunu söyler.",
  private: "Her şey tarayıcınızda çalışır; hiçbir yere hiçbir şey gönderilmez.",
  source: "Modeller Quick, Draw! ile eğitildi (Google, CC BY 4.0)",

  starting: "Başlıyor…",
  loading: ({ name, loaded, total, percent }) => `Model yükleniyor (${name}): ${loaded} / ${total} MB (${percent})`,
  preparing: ({ name }) => `Model hazırlanıyor (${name})…`,
  ready: "Hazır. Bir çizgi çekin.",
  proposed: "Alın ya da çizmeyi sürdürün.",
  readyWithDrawing: "Hazır.",
  drawing: "Model çiziyor…",
  oneMore: "Model bir çizgi çekiyor…",
  drawingEndings: "Model dört ayrı son çiziyor…",
  finished: ({ count }) => `Model çizimi ${count} çizgiyle tamamladı.`,
  nothing: "Model bu çizimi bitmiş sayıyor: eklenecek bir şey yok.",
  longest: ({ most }) => `Model durdu: bir çizimde en çok ${most} çizgi olur.`,
  full: ({ most }) => `Bir çizimde en çok ${most} çizgi olur: eklenecek bir şey yok.`,
  added: "Model bir çizgi ekledi.",
  stopped: "Durduruldu.",
  chooseEnding: "Dört son hazır. Birini seçin.",
  endingUnfinished: ({ number }) => `${number}. son henüz çiziliyor.`,
  adopted: ({ number }) => `${number}. son kâğıtta.`,
  penDown: "Kalem indi.",
  penUp: ({ count }) => `Kalem kalktı. Kâğıtta ${count} çizgi var.`,
  undone: ({ count }) => `Geri alındı. Kâğıtta ${count} çizgi var.`,
  redone: ({ count }) => `Yinelendi. Kâğıtta ${count} çizgi var.`,
  cleared: "Kâğıt boş. “Geri al” çizimi geri getirir.",
  saving: ({ file }) => `${file} hazırlanıyor…`,
  recording: ({ file }) => `${file} kaydediliyor; çizilmesi kadar sürer…`,
  saved: ({ file }) => `${file} olarak kaydedildi.`,
  nothingToSave: "Kâğıtta kaydedilecek bir şey yok.",
  pasted: "Yapıştırılan",
  openedLink: ({ count }) => `Bağlantıdaki çizim: ${count} çizgi.`,
  linkCopied: ({ count }) => `Kopyalandı: çizimi taşıyan ${decimal(count, 0)} karakterlik bir bağlantı.`,
  linkShown: "Sayfanın adresi artık çizimi taşıyor: kopyalayın.",
  opened: ({ file, count }) => `${file} açıldı: ${count} çizgi.`,
  openedCut: ({ file, count, strokes, points }) =>
    `${file} açıldı, ${decimal(count, 0)} çizgide kesildi: en çok ${strokes} çizgi ve ${points} nokta okunur.`,
  openedFitted: ({ file, count }) => `${file} açıldı: ${count} çizgi, kareye sığdırıldı.`,
  noSimd: "Bu tarayıcı model için çok eski (tarayıcılarda 2023'ten beri bulunan WebAssembly SIMD yok). Yine de çizip kaydedebilirsiniz.",
  restored: "Hazır. Bu, son çiziminiz; yeniden başlamak için kâğıdı temizleyin.",
  failed: ({ message }) => `Olmadı: ${message}`,
  loadFailed: ({ name, message }) => `Model yüklenemedi (${name}): ${message}`,

  fileUnreadable: ({ file }) => `${file} okunamıyor.`,
  fileEmpty: ({ file }) => `${file} boş.`,
  fileLong: ({ file }) => `${file} dosyasının ilk satırı bir çizim için fazla uzun.`,
  fileNotJson: ({ file }) => `${file} bir çizim değil: ne SVG, ne de ilk satırı JSON.`,
  fileNotSvg: ({ file }) => `${file} okunabilir bir SVG değil.`,
  fileNoDrawing: ({ file }) => `${file} dosyasında “drawing” altında bir çizgi listesi yok.`,
  fileStroke: ({ file, stroke }) => `${file}: ${stroke}. çizgi, eşit uzunlukta [[x …], [y …]] biçiminde değil.`,
  fileNumber: ({ file, stroke }) => `${file}: ${stroke}. çizgide sayı olmayan bir değer var.`,
  fileNoPoints: ({ file }) => `${file} dosyasındaki çizimde hiç nokta yok.`,
};

export const TEXTS = { en: ENGLISH, tr: TURKISH };
let language = "en";

/** The languages that the page can speak. */
export const LANGUAGES = Object.keys(TEXTS);

/** Return the language in use, "en" or "tr". */
export const currentLanguage = () => language;

/** Speak `wanted` from now on; an unknown language is English. */
export function setLanguage(wanted) {
  language = wanted in TEXTS ? wanted : "en";
}

/** Return the text `key` in the language in use, with `values` put into it. */
export function say(key, values = {}) {
  const text = TEXTS[language][key];
  return typeof text === "function" ? text(values) : (text ?? key);
}

/** Return what a category of Quick, Draw! is called in the language in use. */
export function nameOf(category) {
  return language === "tr" ? (TURKISH_NAMES[category] ?? category) : category;
}

/** Return what it is called in the other language. */
export function otherNameOf(category) {
  return language === "tr" ? category : TURKISH_NAMES[category];
}

/** Return a name as it is compared, however it is typed: the twin of plain_name in config.py. */
export function plainName(name) {
  return name.replaceAll("ı", "i").toLowerCase().normalize("NFKD").replace(/[\p{M} _-]/gu, "");
}

/** Return a probability as a percentage in the language in use, such as 87% or %87. */
export function percent(probability) {
  const digits = probability > 0 && probability < 0.0095 ? 1 : 0;
  const form = { style: "percent", maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, form).format(probability);
}

/** Return a number with a fixed count of decimals in the language in use. */
export function decimal(value, digits) {
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, form).format(value);
}

/** Put the texts of the language in use into every element that asks for one by `data-text`, `data-label` or `data-category`. */
export function applyWords(root = document) {
  document.documentElement.lang = language;
  document.title = say("title");
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll("[data-category]")) element.textContent = nameOf(element.dataset.category);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
    if (element.tagName === "BUTTON") element.title = say(element.dataset.label);
  }
}
